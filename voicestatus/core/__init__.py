"""What we know and how it changes. Pure: no I/O, no clock, no randomness."""
