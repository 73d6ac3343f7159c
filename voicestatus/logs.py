"""What is logged, and how: a level, text or JSON, and never a secret."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TextIO

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    eventAsText,
)
from zope.interface import provider

HIDDEN = "[secret]"


def observer(
    stream: TextIO, level: str, layout: str, secrets: Iterable[str]
) -> ILogObserver:
    """Build what writes the log: a line each in `text`, an object a line in `json`."""
    hide = tuple(secret for secret in secrets if secret)

    def clean(text: str) -> str:
        for secret in hide:
            text = text.replace(secret, HIDDEN)
        return text

    @provider(ILogObserver)
    def write_text(event: LogEvent) -> None:
        stream.write(
            clean(
                f"{_time(event)} {_level(event):<8} {event.get('log_namespace', '-')}"
                f" {_message(event)}\n"
            )
        )
        stream.flush()

    @provider(ILogObserver)
    def write_json(event: LogEvent) -> None:
        line = {
            "time": _time(event),
            "level": _level(event),
            "logger": event.get("log_namespace", "-"),
            "message": clean(_message(event)),
        }
        stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        stream.flush()

    wanted = LogLevelFilterPredicate(LogLevel.lookupByName(level))
    return FilteringLogObserver(
        write_json if layout == "json" else write_text, [wanted]
    )


def _time(event: LogEvent) -> str:
    moment = datetime.fromtimestamp(event["log_time"], UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _level(event: LogEvent) -> str:
    level = event.get("log_level")
    return "info" if level is None else str(level.name)


def _message(event: LogEvent) -> str:
    return eventAsText(event, includeTimestamp=False, includeSystem=False)
