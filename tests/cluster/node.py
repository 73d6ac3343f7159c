"""A node as a process of its own: `node.py PORT NAME LEASE_S`; the test kills it.

It writes one JSON line for each thing that happens. Its Discord is a file that the
test appends to: each line is one event of the stream, and its place is the sequence.
"""

import json
import os
import sys
from pathlib import Path
from time import monotonic

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from voicestatus.cluster.relay import Term
from voicestatus.cluster.service import OneOfSeveral
from voicestatus.core.guild import Channel, Voice
from voicestatus.core.presence import (
    Event,
    GuildArrived,
    Presence,
    SessionBegan,
    SessionResumed,
    SyncEnded,
    VoiceChanged,
    VoiceUpdated,
)
from voicestatus.core.session import SessionState
from voicestatus.core.storage_address import InRedis
from voicestatus.hub import Hub

GUILD, CHANNEL = 10, 100


def say(**what: object) -> None:
    sys.stdout.write(json.dumps({"t": monotonic(), **what}) + "\n")
    sys.stdout.flush()


class FileSource:
    """Reads the file onwards while it holds the shard; remembers each place it read."""

    def __init__(self, path: Path, reactor: object) -> None:
        self._path, self._reactor = path, reactor
        self.session_state: SessionState | None = None
        self.node: OneOfSeveral
        self._reading = LoopingCall(self._read)

    def begin(self, term: Term) -> None:
        assert term.fence is not None
        seq = None if term.session is None else term.session.seq
        say(what="begin", fence=term.fence.number, seq=seq)
        self.session_state = term.session or SessionState("s", 0, "wss://r")
        if term.session is None:
            arrived = GuildArrived(0, GUILD, "g", None, (Channel(CHANNEL, "c", 2),), ())
            for event in (SessionBegan(0, 99, frozenset({GUILD})), arrived):
                self.node.presences.deliver(0, event)
            self.node.presences.deliver(0, SyncEnded(0))
        else:
            self._read()
            self.node.presences.deliver(0, SessionResumed(0))
        self._reading.start(0.002, now=False)

    def end(self) -> Deferred[None] | None:
        say(what="end")
        self._reading.stop()
        return None

    def _read(self) -> None:
        assert self.session_state is not None
        lines = self._path.read_text().splitlines()
        for seq in range(self.session_state.seq, len(lines)):
            if not self.node.terms.holds(0):
                return
            what, user = lines[seq].split()
            say(what="acts", seq=seq + 1)
            self.session_state = SessionState("s", seq + 1, "wss://r")
            voice = Voice(int(user), CHANNEL) if what == "join" else None
            event: Event = VoiceUpdated(GUILD, int(user), voice, False)
            self.node.presences.deliver(0, event)


def main(port: str, name: str, lease_s: str, path: str) -> None:
    from twisted.internet import reactor

    reactor.seconds = monotonic
    hub = Hub(Presence())
    source = FileSource(Path(path), reactor)
    node = OneOfSeveral(
        InRedis((("127.0.0.1", int(port)),)),
        f"{name}-{os.getpid()}",
        hub,
        reactor,
        lease_s=float(lease_s),
    )
    source.node = node
    node.presences.attach(0, source)

    def told(change: object) -> None:
        if isinstance(change, VoiceChanged):
            lit = hub.presence.guilds[GUILD].total.people
            say(what="light", people=lit, user=change.user)

    hub.subscribe(told)
    node.startService()
    reactor.addSystemEventTrigger("before", "shutdown", node.stopService)

    def look() -> None:
        if node.presences.in_step(0):
            say(what="in step")
            looking.stop()

    looking = LoopingCall(look)
    looking.start(0.01)
    say(what="started")
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
