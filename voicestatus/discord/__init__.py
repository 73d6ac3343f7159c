"""All that speaks to Discord."""
