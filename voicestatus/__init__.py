"""Discord voice presence for physical signs."""
