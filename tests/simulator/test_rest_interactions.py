"""Somebody presses a button, and is answered by REST."""

import json

import pytest

from voicestatus.simulator.world import RefusedError

ROWS = [{"type": 1, "components": [{"type": 2, "label": "Join", "custom_id": "join"}]}]


@pytest.fixture
def press(api):
    """Let the owner press the button of a new message of the bot."""
    room = api.room("general").id
    order = {"content": "x", "components": ROWS}
    message = int(api.ask("POST", f"/channels/{room}/messages", order)[1]["id"])

    def one(custom_id="join", user=None):
        user = user or api.home.owner
        now = api.clock.seconds()
        pressed, told = api.presses.press(user, room, message, custom_id, now)
        api.published.extend(told)
        return pressed

    return one


def answer(api, press, body, token=None):
    path = f"/interactions/{press.id}/{token or press.token}/callback"
    return api.ask("POST", path, body, authorization=None)


def test_a_press_is_told_to_the_bot(api, press):
    pressed = press()
    told = json.loads(api.published[-1].body)
    assert (told["type"], told["data"]["custom_id"]) == (3, "join")
    assert told["member"]["user"]["id"] == str(api.home.owner)
    assert told["token"] == pressed.token
    assert told["message"]["content"] == "x"


def test_an_answer_that_shows_nothing(api, press):
    assert answer(api, press(), {"type": 6})[0] == 204


def test_a_press_is_answered_once(api, press):
    pressed = press()
    answer(api, pressed, {"type": 6})
    status, said = answer(api, pressed, {"type": 6})
    assert (status, said["code"]) == (400, 40060)


def test_three_seconds_are_too_late(api, press):
    pressed = press()
    api.clock.advance(3.1)
    status, said = answer(api, pressed, {"type": 6})
    assert (status, said["code"]) == (404, 10062)


def test_an_empty_answer_is_refused(api, press):
    assert answer(api, press(), {"type": 4, "data": {}})[1]["code"] == 50006


def test_a_wrong_token_is_no_answer(api, press):
    assert answer(api, press(), {"type": 6}, token="wrong")[1]["code"] == 10062


def test_what_only_the_presser_sees_is_no_message(api, press):
    pressed = press()
    data = {"content": "full", "flags": 64}
    answer(api, pressed, {"type": 4, "data": data})
    assert pressed.told == [{"content": "full", "embeds": [], "flags": 64}]
    assert api.told == ["MESSAGE_CREATE", "INTERACTION_CREATE"]


def test_an_answer_may_be_a_message_or_a_change_of_it(api, press):
    answer(api, press(), {"type": 4, "data": {"content": "hi"}})
    change = {"content": "y", "embeds": [{"title": "t"}], "components": ROWS}
    answer(api, press(), {"type": 7, "data": change})
    assert api.told[-1] == "MESSAGE_UPDATE"
    newest = [
        message.content for message in api.messages.newest(api.room("general").id)
    ]
    assert newest == ["hi", "y"]


def test_more_can_be_said_for_a_quarter_of_an_hour(api, press):
    pressed = press()
    path = f"/webhooks/{api.world.bot.id}/{pressed.token}"
    body = {"content": "more", "flags": 64}
    assert api.ask("POST", path, body, authorization=None)[0] == 200
    assert pressed.told[0]["content"] == "more"
    api.clock.advance(900)
    status, said = api.ask("POST", path, body, authorization=None)
    assert (status, said["code"]) == (404, 10015)


def test_there_must_be_such_a_button_and_such_a_member(press):
    for wrong in ({"custom_id": "leave"}, {"user": 1}):
        with pytest.raises(RefusedError):
            press(**wrong)
