"""A row: started in order, stopped in reverse, one after the other, whatever fails."""

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent

from voicestatus.services import Row


class Part(Service):
    """Tells a diary when it stops; waits for, or fails with, what it is given."""

    def __init__(self, name: str, diary: list[str], ends: object = None) -> None:
        self.name, self._diary, self._ends = name, diary, ends

    def stopService(self) -> object:
        self._diary.append(self.name)
        if isinstance(self._ends, Exception):
            raise self._ends
        return self._ends


def test_each_stops_after_the_one_that_was_added_later_has_stopped():
    diary: list[str] = []
    closing: Deferred[None] = Deferred()
    row = Row()
    for part in (Part("store", diary), Part("listener", diary, closing)):
        part.setServiceParent(row)
    stopped = row.stopService()
    assert diary == ["listener"]
    assert not stopped.called
    closing.callback(None)
    assert diary == ["listener", "store"]
    assert stopped.called


def test_one_that_fails_to_stop_is_told_and_the_others_stop(
    nothing_is_left_behind: list[LogEvent],
):
    diary: list[str] = []
    row = Row()
    failing: Deferred[None] = Deferred()
    for part in (
        Part("store", diary),
        Part("gateway", diary, failing),
        Part("listener", diary, ValueError("no")),
    ):
        part.setServiceParent(row)
    stopped = row.stopService()
    failing.errback(ValueError("neither"))
    assert diary == ["listener", "gateway", "store"]
    assert stopped.called
    assert len(nothing_is_left_behind) == 2
    nothing_is_left_behind.clear()
