"""What is logged, and how: a level, text or JSON, and never a secret."""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TextIO

from constantly import NamedConstant
from twisted.logger import (
    FilteringLogObserver,
    ILogFilterPredicate,
    ILogObserver,
    LogEvent,
    LogLevel,
    PredicateResult,
    eventAsText,
)
from zope.interface import implementer

HIDDEN = "[secret]"
SHORTEST_SECRET = 4

# Twisted tells at info of each factory and each connection that it makes.
_TALKATIVE = ("log_legacy", "twisted.web.client")


def observer(
    stream: TextIO, level: str, layout: str, secrets: Iterable[str]
) -> ILogObserver:
    """Build what writes the log: lines in `text`, an object a line in `json`."""
    writer = _Writer(stream, _as_json if layout == "json" else _as_text, secrets)
    return FilteringLogObserver(writer, [_AtLeast(LogLevel.lookupByName(level))])


@implementer(ILogObserver)
class _Writer:
    def __init__(
        self,
        stream: TextIO,
        layout: Callable[[LogEvent, str], str],
        secrets: Iterable[str],
    ) -> None:
        self._stream, self._layout = stream, layout
        # A shorter one is no secret, and would be found in every other word.
        plain = {secret for secret in secrets if len(secret) >= SHORTEST_SECRET}
        quoted = {repr(secret)[1:-1] for secret in plain}
        # The longest first: of one that holds another no end may stay.
        self._secrets = sorted(plain | quoted, key=len, reverse=True)

    def __call__(self, event: LogEvent) -> None:
        message = eventAsText(event, includeTimestamp=False, includeSystem=False)
        for secret in self._secrets:
            message = message.replace(secret, HIDDEN)
        self._stream.write(self._layout(event, message) + "\n")
        self._stream.flush()


@implementer(ILogFilterPredicate)
class _AtLeast:
    def __init__(self, level: NamedConstant) -> None:
        self._level = level

    def __call__(self, event: LogEvent) -> NamedConstant:
        level = event.get("log_level") or LogLevel.info
        talk = event.get("log_namespace", "").startswith(_TALKATIVE)
        if talk and level == LogLevel.info:
            level = LogLevel.debug
        return PredicateResult.no if level < self._level else PredicateResult.maybe


def _as_text(event: LogEvent, message: str) -> str:
    source = event.get("log_namespace", "-")
    return f"{_time(event)} {_level(event):<8} {source} {message}"


def _as_json(event: LogEvent, message: str) -> str:
    line = {
        "time": _time(event),
        "level": _level(event),
        "logger": event.get("log_namespace", "-"),
        "message": message,
    }
    return json.dumps(line, ensure_ascii=False)


def _time(event: LogEvent) -> str:
    moment = datetime.fromtimestamp(event["log_time"], UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _level(event: LogEvent) -> str:
    level = event.get("log_level")
    return "info" if level is None else str(level.name)
