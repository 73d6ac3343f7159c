"""What a restart, a crash or a deploy must not lose: presence, and its session."""
