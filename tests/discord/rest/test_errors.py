"""Discord's refusals as errors."""

import json

import pytest

from voicestatus.discord.rest import errors, wire
from voicestatus.discord.rest.errors import (
    DiscordRefused,
    InvalidBody,
    MaximumInvites,
    MaximumScheduledEvents,
    MissingAccess,
    MissingPermissions,
    UnknownChannel,
    UnknownMember,
    UnknownMessage,
    UnknownThing,
)
from voicestatus.discord.rest.wire import Problem


@pytest.fixture
def problem(sample):
    def read(name):
        stored = sample(f"rest/{name}")
        body = json.dumps(stored["body"]).encode()
        return stored["status"], wire.problem("application/json", body)

    return read


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("error_10003", UnknownChannel),
        ("error_10007", UnknownMember),
        ("error_10008", UnknownMessage),
        ("error_10065_not_in_voice", DiscordRefused),
        ("error_30016", MaximumInvites),
        ("error_30038", MaximumScheduledEvents),
        ("error_50001", MissingAccess),
        ("error_50013", MissingPermissions),
        ("error_50024", errors.WrongChannelType),
        ("error_50035_embed", InvalidBody),
        ("error_180000", errors.EventFinished),
    ],
)
def test_a_code_has_its_class(problem, name, kind):
    refused = errors.refused(*problem(name))
    assert type(refused) is kind


def test_the_codes_of_classes_are_those_of_their_docstrings():
    for code, kind in errors.BY_CODE.items():
        assert (kind.__doc__ or "").startswith(str(code))


def test_what_is_unknown_can_be_caught_as_one():
    unknown = [kind for kind in errors.BY_CODE.values() if "Unknown" in kind.__name__]
    assert len(unknown) == 9
    assert all(issubclass(kind, UnknownThing) for kind in unknown)


def test_fields_that_are_wrong_are_said_in_words(problem):
    refused = errors.refused(*problem("error_50035_embed"))
    said = "BASE_TYPE_MAX_LENGTH Must be 1024 or fewer in length."
    assert refused.fields == (f"embeds.0.fields.1.value: {said}",)
    assert refused.fields[0] in str(refused)


def fields(tree):
    body = json.dumps({"code": 50035, "message": "m", "errors": tree}).encode()
    return wire.problem("application/json", body).fields


def test_an_error_of_the_whole_body_has_no_path():
    assert fields({"_errors": [{"code": "C", "message": "words"}]}) == ("C words",)


def test_a_tree_that_is_none_or_without_end_is_bounded():
    assert fields(["x"]) == fields("x") == fields({"_errors": "x"}) == ()
    deep = {"_errors": [{"code": "C", "message": "m"}]}
    for _ in range(100):
        deep = {"a": deep}
    assert fields(deep) == ()
    leaf = {"_errors": [{"code": "C", "message": "m"}]}
    assert len(fields({str(n): leaf for n in range(100)})) == wire.FIELDS_MOST


def test_html_is_not_read_as_an_error():
    assert wire.problem("text/html", b"<html>") is None
    assert wire.problem("application/json; charset=utf-8", b'{"code":5}') == Problem(5)
    assert wire.problem("application/json", b"<html>") is None
    assert wire.problem("application/json", b'{"code":"x"}') is None
