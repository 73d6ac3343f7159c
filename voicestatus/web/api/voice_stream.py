"""`/discord/<guild>/voice-stream`: who joins, leaves and moves, live."""

from types import MappingProxyType
from typing import Final, Protocol

from voicestatus.community.voice_events import (
    Sees,
    VoiceMarks,
    VoiceSight,
    VoiceStateEvent,
)
from voicestatus.community.voice_stream import VoiceSnapshot, VoiceStreams
from voicestatus.core.ids import GuildId
from voicestatus.web.api.endpoint import Streamed, endpoint
from voicestatus.web.api.reading import guild_id
from voicestatus.web.audit import Caller
from voicestatus.web.auth.identity import Level
from voicestatus.web.permits import ASKING

EVENTS: Final = MappingProxyType(
    {
        "message": VoiceStateEvent,
        "marks": VoiceMarks,
        "snapshot": VoiceSnapshot,
        "state": VoiceSight,
    }
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
        missed since, if that is still known. `marks` say how somebody is who stays:
        muted, deafened, streaming, in a stage's audience, or with another name; and
        right after a join, if they are. A `state` says how far Discord's word on the
        server can be trusted from then on.
        """
        id_ = guild_id(guild)
        sees = await self._permits.sees(caller, id_)
        return Streamed(self._streams.view(id_, sees))
