"""`/presence`: who is in voice, in counts."""

from voicestatus.core.presence import Presence
from voicestatus.web import views
from voicestatus.web.api.endpoint import endpoint


class PresenceSubject:
    """What is known of the guilds."""

    def __init__(self, presence: Presence) -> None:
        self._presence = presence

    @endpoint("GET", "/presence")
    def show(self) -> views.Presence:
        """Show guilds, their channels, and how many are in voice.

        Counts only: nothing here tells who.
        """
        return views.presence_of(self._presence)
