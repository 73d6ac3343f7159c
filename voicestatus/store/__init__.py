"""Small typed documents, kept in memory or in SQLite."""
