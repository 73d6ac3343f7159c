"""What may be wrong with a set-up, and how to mend it."""
