"""Communities: what their Discord server and this program are to each other."""
