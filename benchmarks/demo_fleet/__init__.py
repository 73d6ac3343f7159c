"""A fleet that is updated: a good build reaches it, a bad one is stopped."""
