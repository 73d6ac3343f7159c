"""All that speaks to signs; it cannot reach a person."""
