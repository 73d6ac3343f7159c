"""Logs: a level, a layout, and never a secret."""

import json
from io import StringIO

import pytest
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from voicestatus.logs import observer


def logged(
    layout: str, level: str = "info", secrets: tuple[str, ...] = ()
) -> tuple[Logger, StringIO]:
    stream = StringIO()
    return Logger("here", observer=observer(stream, level, layout, secrets)), stream


def test_text_is_a_line_with_time_level_and_source():
    log, stream = logged("text")
    log.warn("{n} signs", n=3)
    time, level, source, *message = stream.getvalue().split()
    assert time.endswith("Z")
    assert (level, source, message) == ("warn", "here", ["3", "signs"])


def test_json_is_an_object_a_line():
    log, stream = logged("json")
    log.info('say "{what}"\nagain', what="yes")
    line, end = stream.getvalue().split("\n")
    assert end == ""
    event = json.loads(line)
    assert event["message"] == 'say "yes"\nagain'
    assert (event["level"], event["logger"]) == ("info", "here")


@pytest.mark.parametrize("layout", ["text", "json"])
def test_a_known_secret_is_hidden_in_messages_and_tracebacks(layout: str):
    log, stream = logged(layout, secrets=("hunter2",))
    log.info("token {token}", token="hunter2")
    log.failure("it broke", Failure(ValueError("hunter2")))
    assert "hunter2" not in stream.getvalue()
    assert "it broke" in stream.getvalue()
    assert "ValueError" in stream.getvalue()


@pytest.mark.parametrize("layout", ["text", "json"])
@pytest.mark.parametrize("secret", ['hün"ter2', "hun\\ter2", "it's \"ter2"])
def test_a_secret_is_hidden_however_it_is_quoted(layout: str, secret: str):
    log, stream = logged(layout, secrets=(secret,))
    log.info("token {token}, {token!r}", token=secret)
    log.failure("it broke", Failure(KeyError(secret)))
    assert "ter2" not in stream.getvalue()


@pytest.mark.parametrize("layout", ["text", "json"])
def test_of_a_secret_that_holds_another_nothing_is_shown(layout: str):
    log, stream = logged(layout, secrets=("hunter", "hunter2", "unter2!", "hunter2!"))
    log.info("tokens {one} {two}", one="hunter2", two="hunter2!")
    assert "tokens [secret] [secret]" in stream.getvalue()


def test_what_is_below_the_level_is_not_written():
    log, stream = logged("text", level="warn")
    log.info("quiet")
    log.error("loud")
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()
    assert LogLevel.error.name in stream.getvalue()
