"""What outlives a connection to Discord. Pure."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SessionState:
    """All that a Resume needs, and the place in the stream of events. JSON by msgspec.

    `seq` is that of the last event which the presence includes.
    """

    session_id: str = field(repr=False)
    seq: int
    resume_url: str
    syncing: bool = False
    """Whether the session still owed guilds when this was taken."""
    intents: int = 0
    """What it asked for when it began; 0: nobody knows."""
