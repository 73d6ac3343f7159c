"""Listening: at once or later, it opens, or it is told why it does not."""

from collections.abc import Iterator

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.protocol import Factory
from twisted.logger import LogEvent, LogLevel, eventAsText, globalLogPublisher

from voicestatus.web.listen import CannotListen, Listener


class Port:
    """As much of a listening port as is asked of it."""

    open = True

    def stopListening(self) -> None:  # noqa: N802 - Twisted's name
        self.open = False


class Endpoint:
    """Answers a listen with what it was given."""

    def __init__(self, opening: Deferred[Port]) -> None:
        self._opening = opening

    def listen(self, _factory: Factory) -> Deferred[Port]:
        return self._opening


def listener(opening: Deferred[Port]) -> Listener:
    return Listener("onion:80", Endpoint(opening), Factory(), "pages")


@pytest.fixture
def critical() -> Iterator[list[str]]:
    """Collect what a human must hear."""
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"] is LogLevel.critical:
            lines.append(eventAsText(event, includeTimestamp=False))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


def test_what_is_opened_is_closed_at_the_end():
    port = Port()
    service = listener(succeed(port))
    service.startService()
    service.stopService()
    assert not port.open


def test_what_cannot_be_opened_at_once_stops_the_start():
    refusal = OSError(13, "Permission denied")
    with pytest.raises(CannotListen, match="on onion:80: Permission denied"):
        listener(fail(refusal)).startService()


def test_what_cannot_be_opened_later_is_told(critical: list[str]):
    opening: Deferred[Port] = Deferred()
    listener(opening).startService()
    opening.errback(OSError(13, "Permission denied"))
    assert len(critical) == 1
    assert "cannot listen on onion:80: Permission denied" in critical[0]


def test_what_is_still_opening_at_the_end_is_given_up(critical: list[str]):
    opening: Deferred[Port] = Deferred()
    service = listener(opening)
    service.startService()
    service.stopService()
    opening.callback(Port())
    assert service.port is None
    assert critical == []
