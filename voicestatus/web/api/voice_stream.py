"""`/discord/<guild>/voice-stream`: who joins, leaves and moves, live."""

from types import MappingProxyType
from typing import Final, Protocol

from voicestatus.community.voice_events import Sees, VoiceSight, VoiceStateEvent
from voicestatus.community.voice_stream import VoiceSnapshot, VoiceStreams
from voicestatus.core.errors import Refusal
from voicestatus.core.ids import GuildId
from voicestatus.web.api.endpoint import Streamed, endpoint
from voicestatus.web.audit import Caller
from voicestatus.web.auth.identity import Level
from voicestatus.web.permits import ASKING

ID_DIGITS_MOST: Final = 20
EVENTS: Final = MappingProxyType(
    {"message": VoiceStateEvent, "snapshot": VoiceSnapshot, "state": VoiceSight}
)
"""Those without a name are what a browser calls `message`."""


class Sight(Protocol):
    """What is asked of `web.permits.Permits`."""

    async def sees(self, caller: Caller, guild: GuildId) -> Sees:
        """Return which channels a member may see; raise a refusal for who is none."""
        ...


class VoiceStreamSubject:
    """A server's voice channels, live."""

    def __init__(self, permits: Sight, streams: VoiceStreams) -> None:
        self._permits, self._streams = permits, streams

    @endpoint(
        "GET",
        "/discord/<guild>/voice-stream",
        level=Level.GUEST,
        refuses=("GUILD_NOT_FOUND", *ASKING),
        media="text/event-stream",
        events=EVENTS,
    )
    async def stream(self, guild: str, caller: Caller) -> Streamed:
        """Tell who joins, leaves and moves, as it happens; for members.

        An event stream. First comes a `snapshot`, or with a `Last-Event-ID` what was
        missed since, if that is still known. A `state` says how far Discord's word on
        the server can be trusted from then on.
        """
        if not (guild.isdecimal() and len(guild) <= ID_DIGITS_MOST):
            raise Refusal("GUILD_NOT_FOUND", "There is no such Discord server here.")
        id_ = GuildId(int(guild))
        sees = await self._permits.sees(caller, id_)
        return Streamed(self._streams.view(id_, sees))
