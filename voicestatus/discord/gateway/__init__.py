"""The Gateway: Discord's live event stream."""
