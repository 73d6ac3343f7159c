"""A Discord look-alike, its people, and simulated signs."""
