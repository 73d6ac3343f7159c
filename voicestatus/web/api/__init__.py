"""The JSON API below `/api/v1`: one class a subject, described by its own types."""
