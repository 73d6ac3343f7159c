"""The live channel: a snapshot, then what changes, and commands."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from twisted.logger import LogLevel, capturedLogs

from voicestatus.devices import later
from voicestatus.web import admin_socket, feed
from voicestatus.web.everywhere import Everywhere
from voicestatus.web.rollouts_everywhere import RolloutsHere

Dial = Callable[..., Any]


def pass_time(side: Any, browser: Any, seconds: float = feed.BUNDLE_S) -> None:
    side.clock.advance(seconds)
    for _ in range(100):
        side.clock.advance(0)
        browser.pump.flush()


def test_the_snapshot_comes_first(side: Any, dial: Dial):
    side.people_come()
    side.sign("desk")
    (snapshot,) = dial(side).heard
    assert snapshot["type"] == "snapshot"
    assert snapshot["presence"] == side.ask("GET", "/presence").json
    assert snapshot["devices"] == side.ask("GET", "/devices").json["devices"]
    assert snapshot["more"] is False


def test_many_devices_come_in_pages(side: Any, dial: Dial):
    for n in range(2 * feed.PAGE + 1):
        side.sign(f"d{n:04}")
    pages = dial(side).of("snapshot")
    assert [len(page["devices"]) for page in pages] == [feed.PAGE, feed.PAGE, 1]
    assert [page["more"] for page in pages] == [True, True, False]
    assert ["presence" in page for page in pages] == [True, False, False]
    seen = [device["id"] for page in pages for device in page["devices"]]
    assert seen == [f"d{n:04}" for n in range(2 * feed.PAGE + 1)]


def test_nobody_is_told_anything_before_the_right_token(side: Any, dial: Dial):
    side.people_come()
    browser = dial(side, say=None)
    side.person(None)
    pass_time(side, browser, 1)
    assert browser.heard == []


@pytest.mark.parametrize("text", ["hello", "AUTH:", '{"type":"command"}'])
def test_what_is_no_token_ends_it(side: Any, dial: Dial, text: str):
    browser = dial(side, say=text)
    assert browser.closed == (1008, "AUTH:<token> is wanted first")
    assert browser.heard == []


def test_silence_ends_it(side: Any, dial: Dial):
    browser = dial(side, say=None)
    pass_time(side, browser, admin_socket.AUTH_WITHIN_S)
    assert browser.closed is not None
    assert browser.closed[0] == 1008


def masked(text: str) -> bytes:
    """Frame a text as a peer does; its mask is zero."""
    return b"\x81" + bytes([0x80 | len(text)]) + bytes(4) + text.encode()


def test_a_token_that_comes_too_late_is_not_taken(
    side: Any, dial: Dial, admin_token: str
):
    browser = dial(side, say=None)
    (socket,) = side.admin.socket._all
    side.clock.advance(admin_socket.AUTH_WITHIN_S)
    socket.dataReceived(masked(f"AUTH:{admin_token}"))
    assert side.metric("voicestatus_admin_sockets") == 0
    side.clock.advance(admin_socket.CLOSE_WITHIN_S)
    assert socket.transport.disconnecting
    browser.pump.flush()


def test_a_command_after_the_close_is_not_done(side: Any, dial: Dial):
    sign, _ = side.sign("desk")
    browser = dial(side)
    (socket,) = side.admin.socket._all
    socket.end(admin_socket.GOING_AWAY, "x")
    command = '"device":"desk","command":{"type":"reboot"}'
    socket.dataReceived(masked(f'{{"type":"command","id":"x",{command}}}'))
    assert b'{"type":"reboot"}' not in sign.texts
    browser.pump.flush()


def test_wrong_tokens_wait_longer_each_time(side: Any, dial: Dial):
    assert dial(side, say="AUTH:wrong").closed == (1008, "UNAUTHORIZED")
    held = dial(side, say="AUTH:wrong")
    assert held.closed is None
    assert dial(side).closed is None
    pass_time(side, held, 1)
    assert held.closed == (1008, "UNAUTHORIZED")
    count = side.metric("voicestatus_admin_auth_failures_total", reason="wrong")
    assert count == 2


def test_a_second_token_does_not_help_who_is_held(
    side: Any, dial: Dial, admin_token: str
):
    dial(side, say="AUTH:wrong")
    held = dial(side, say="AUTH:wrong")
    held.say(f"AUTH:{admin_token}")
    assert held.heard == []
    pass_time(side, held, 1)
    assert held.closed == (1008, "UNAUTHORIZED")


def test_who_goes_while_held_is_held_no_longer(side: Any, dial: Dial):
    dial(side, say="AUTH:wrong")
    held = dial(side, say="AUTH:wrong")
    assert side.metric("voicestatus_admin_held") == 1
    held.transport.loseConnection()
    held.pump.flush()
    assert side.metric("voicestatus_admin_held") == 0


def test_a_guilds_changes_are_bundled(side: Any, dial: Dial):
    side.people_come()
    browser = dial(side)
    for channel in (None, 201, 202, 201, None):
        side.person(channel)
    pass_time(side, browser)
    (told,) = browser.of("presence")
    assert told["ready"] is True
    assert told["guild"] == side.ask("GET", "/presence").json["guilds"][0]
    assert told["guild"]["people"] == 0


def test_what_changes_no_count_is_not_told(side: Any, dial: Dial):
    from voicestatus.core.guild import Voice
    from voicestatus.core.presence import VoiceUpdated

    side.people_come()
    browser = dial(side)
    for mute in (True, False, True):
        voice = Voice(302, 201, self_mute=mute)
        side.hub.apply(VoiceUpdated(101, 302, voice, bot=False))
        pass_time(side, browser)
    assert len(browser.of("presence")) == 1


def test_who_comes_between_two_changes_is_told_the_second(side: Any, dial: Dial):
    side.people_come()
    first = dial(side)
    for channel in (None, 201):
        side.person(channel)
        pass_time(side, first)
    side.person(None)
    second = dial(side)
    side.person(201)
    pass_time(side, second)
    assert second.heard[0]["presence"]["guilds"][0]["people"] == 0
    assert [told["guild"]["people"] for told in second.of("presence")] == [1]


def test_a_guild_that_goes_is_told(side: Any, dial: Dial):
    from voicestatus.core.ids import GuildId
    from voicestatus.core.presence import GuildRemoved

    side.people_come()
    browser = dial(side)
    side.hub.apply(GuildRemoved(GuildId(101)))
    pass_time(side, browser)
    assert browser.of("presence") == [{"type": "presence", "id": "101", "gone": True}]


def test_it_is_told_that_discord_has_spoken(side: Any, dial: Dial):
    browser = dial(side)
    assert browser.heard[0]["presence"]["ready"] is False
    side.people_come()
    pass_time(side, browser)
    assert [told["ready"] for told in browser.of("presence")] == [True, True]


def test_a_devices_changes_are_bundled_and_shown(side: Any, dial: Dial):
    browser = dial(side)
    side.sign("desk")
    side.ask("PATCH", "/devices/desk", {"name": "A"})
    side.ask("PATCH", "/devices/desk", {"name": "B"})
    pass_time(side, browser)
    changed = [told for told in browser.of("device") if not told.get("gone")]
    assert changed == [
        {"type": "device", "device": side.ask("GET", "/devices/desk").json}
    ]


def test_a_device_that_goes_is_told(side: Any, dial: Dial):
    _, here = side.sign()
    browser = dial(side)
    side.devices.depart(here)
    pass_time(side, browser)
    assert browser.of("device") == [{"type": "device", "id": here.id, "gone": True}]


def test_a_storm_is_told_a_page_at_a_time(side: Any, dial: Dial):
    browser = dial(side)
    watched = side.admin.socket.feed
    flush, told = watched._flush, []

    def count() -> None:
        before = len(browser.of("device"))
        flush()
        browser.pump.flush()
        told.append(len(browser.of("device")) - before)

    watched._flush = count
    ids = [f"d{n:04}" for n in range(feed.PAGE + 1)]
    for id_ in ids:
        side.ask("POST", "/devices", {"id": id_})
    pass_time(side, browser)
    assert told == [feed.PAGE, 1]
    assert [told["device"]["id"] for told in browser.of("device")] == ids


def test_a_storm_gives_way_when_its_time_is_over(side: Any):
    told = []

    def tell(about: str, text: bytes) -> None:
        told.append(about)
        side.clock.callLater(0, told.append, "a turn")
        side.clock.rightNow += later.SLICE_S / 2

    everywhere = Everywhere(side.devices, side.lights, None)
    firmware = side.ota.catalogue, RolloutsHere(side.rollouts)
    watched = feed.Feed(side.hub, side.devices, everywhere, side.clock, tell, firmware)
    watched.start()
    for id_ in "abc":
        side.ask("POST", "/devices", {"id": id_})
    side.clock.advance(feed.BUNDLE_S)
    assert told[:2] == ["device a", "device b"]
    assert "a turn" in told[2 : told.index("device c")]
    watched.stop()


def test_nothing_is_watched_while_nobody_listens(side: Any, dial: Dial):
    browser = dial(side)
    browser.sendClose()
    browser.pump.flush()
    assert browser.closed is not None
    side.people_come()
    side.sign("desk")
    assert side.admin.socket.feed._call is None
    assert side.metric("voicestatus_admin_sockets") == 0


def test_a_command_is_sent_and_its_result_bears_its_id(side: Any, dial: Dial):
    sign, _ = side.sign("desk")
    browser = dial(side)
    command = {"type": "identify", "seconds": 5}
    browser.say({"type": "command", "id": "x", "device": "desk", "command": command})
    assert browser.of("result") == [{"type": "result", "id": "x", "ok": True}]
    assert json.loads(sign.texts[-1]) == command
    (entry,) = side.ask("GET", "/audit").json["entries"]
    assert (entry["action"], entry["address"]) == ("device.command", "192.0.2.1")


@pytest.mark.parametrize(
    ("message", "id_", "code"),
    [
        (
            {
                "type": "command",
                "id": "x",
                "device": "no",
                "command": {"type": "reboot"},
            },
            "x",
            "DEVICE_NOT_FOUND",
        ),
        ({"type": "command", "id": "x", "device": "no"}, "x", "VALIDATION_FAILED"),
        ({"type": "dance", "id": "x"}, "x", "VALIDATION_FAILED"),
        ({"type": "dance"}, None, "VALIDATION_FAILED"),
        ("nonsense", None, "VALIDATION_FAILED"),
        ("[" * 5000, None, "VALIDATION_FAILED"),
    ],
)
def test_what_cannot_be_done_is_answered_with_an_error(
    side: Any, dial: Dial, message: object, id_: str | None, code: str
):
    browser = dial(side)
    browser.say(message)
    (answer,) = browser.of("error")
    assert (answer["id"], answer["error"]["code"]) == (id_, code)
    assert set(answer["error"]) == {"code", "message", "details", "requestId"}
    assert browser.closed is None


def test_a_defect_of_ours_is_an_answer_too(
    side: Any, dial: Dial, nothing_is_left_behind: list[Any]
):
    def broken(id_: str, command: object) -> None:
        raise RuntimeError("the secret of the house")

    side.devices.command = broken
    browser = dial(side)
    command = {"type": "reboot"}
    browser.say({"type": "command", "id": "x", "device": "a", "command": command})
    (answer,) = browser.of("error")
    assert answer["error"]["code"] == "INTERNAL"
    assert "secret" not in json.dumps(answer)
    assert len(nothing_is_left_behind) == 1
    nothing_is_left_behind.clear()


def test_who_reads_too_slowly_has_to_go(side: Any, dial: Dial):
    browser = dial(side)
    (socket,) = side.admin.socket._let_in
    socket.pauseProducing()
    socket.tell(b"x" * admin_socket.MAX_UNSENT_BYTES)
    assert browser.closed is None
    socket.tell(b"x")
    browser.pump.flush()
    assert browser.closed == (1013, "you read too slowly")
    assert side.metric("voicestatus_admin_slow_sockets_total") == 1


def test_what_waited_is_told_in_order_when_there_is_room(side: Any, dial: Dial):
    browser = dial(side)
    (socket,) = side.admin.socket._let_in
    socket.pauseProducing()
    for n in range(3):
        socket.tell(json.dumps({"type": "n", "n": n}).encode())
    browser.pump.flush()
    assert browser.of("n") == []
    socket.resumeProducing()
    browser.pump.flush()
    assert [told["n"] for told in browser.of("n")] == [0, 1, 2]


def test_of_what_waits_the_newest_is_told(side: Any, dial: Dial):
    browser = dial(side)
    (socket,) = side.admin.socket._let_in
    socket.pauseProducing()
    for n, about in enumerate(["device a", "device b", "device a", None, None]):
        socket.tell(json.dumps({"type": "n", "n": n}).encode(), about)
    socket.resumeProducing()
    browser.pump.flush()
    assert [told["n"] for told in browser.of("n")] == [1, 2, 3, 4]


def test_who_reads_slowly_may_stay_while_the_same_things_change(side: Any, dial: Dial):
    browser = dial(side)
    (socket,) = side.admin.socket._let_in
    socket.pauseProducing()
    for _ in range(3):
        for about in ("device a", "device b"):
            socket.tell(b"x" * (admin_socket.MAX_UNSENT_BYTES // 2), about)
    assert side.metric("voicestatus_admin_slow_sockets_total") == 0
    socket.tell(b"x", "device c")
    assert side.metric("voicestatus_admin_slow_sockets_total") == 1
    browser.pump.flush()


def test_a_snapshot_waits_for_who_reads_it(side: Any, dial: Dial):
    for n in range(3 * feed.PAGE):
        side.sign(f"d{n:04}")
    browser = dial(side, say=None)
    (socket,) = side.admin.socket._all
    tell = socket.tell

    def tell_and_fill(text: bytes) -> None:
        tell(text)
        socket.pauseProducing()

    socket.tell = tell_and_fill
    browser.say("AUTH:open-sesame")
    for page in range(1, 4):
        pass_time(side, browser, 0)
        assert len(browser.of("snapshot")) == page
        socket.resumeProducing()


def test_silent_sockets_are_pinged_and_then_dropped(side: Any, dial: Dial):
    browser = dial(side)
    for _ in range(4):
        pass_time(side, browser, admin_socket.PING_EVERY_S)
    assert browser.closed is None
    for _ in range(3):
        side.clock.advance(admin_socket.PING_EVERY_S)
    browser.pump.flush()
    assert browser.closed is not None


def test_a_message_too_large_ends_it(side: Any, dial: Dial):
    browser = dial(side)
    browser.say("x" * (admin_socket.MAX_MESSAGE_BYTES + 1))
    assert browser.closed is not None
    assert browser.closed[0] == 1009


def test_all_are_told_that_the_server_stops(side: Any, dial: Dial):
    sockets = [dial(side), dial(side, say=None)]
    stopped = side.admin.stopService()
    for browser in sockets:
        browser.pump.flush()
        assert browser.closed == (1001, "the server stops")
    assert stopped.called
    assert side.admin.socket.buildProtocol(None) is None
    side.admin.startService()


def test_who_does_not_answer_the_close_is_cut_off(side: Any, dial: Dial):
    browser = dial(side)
    (socket,) = side.admin.socket._all
    stopped = side.admin.stopService()
    side.clock.advance(admin_socket.CLOSE_WITHIN_S - 0.1)
    assert not socket.transport.disconnecting
    side.clock.advance(0.1)
    assert socket.transport.disconnecting
    browser.pump.flush()
    assert stopped.called
    side.admin.startService()


@pytest.mark.parametrize("frame", [b"\x81\x01x", b"\x81\x81\0\0\0\0\xff", b"\xff\x80"])
def test_who_breaks_the_protocol_is_cut_off_though_it_goes_on_talking(
    side: Any, dial: Dial, frame: bytes
):
    browser = dial(side)
    (socket,) = side.admin.socket._all
    with capturedLogs() as logged:
        socket.dataReceived(frame)
        side.clock.advance(admin_socket.CLOSE_WITHIN_S / 2)
        socket.dataReceived(b"\x8a\x80\0\0\0\0")
        side.clock.advance(admin_socket.CLOSE_WITHIN_S / 2)
    assert socket.transport.disconnecting
    assert [event for event in logged if event["log_level"] > LogLevel.debug] == []
    browser.pump.flush()


def test_of_one_address_only_so_many_may_be_strangers(make_side: Any, dial: Dial):
    from voicestatus.core.admission import Limits

    side = make_side(limits=Limits(per_address=1))
    stranger = dial(side, say=None)
    refused = dial(side, say=None)
    assert refused.closed is not None
    assert "503" in refused.closed[1]
    stranger.say("AUTH:open-sesame")
    assert stranger.of("snapshot")
    assert dial(side).of("snapshot")


def test_a_socket_counts_for_its_address_until_it_is_let_in(side: Any, dial: Dial):
    before = len(side.door)
    browser = dial(side)
    browser.sendClose()
    browser.pump.flush()
    assert len(side.door) == before
