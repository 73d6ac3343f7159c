"""Discord's REST API, as far as a bot of a community needs it."""
