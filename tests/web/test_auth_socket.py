"""The live channel with a session's cookie, or an API token."""

from collections.abc import Callable
from typing import Any

import pytest

from voicestatus.core.errors import Refusal
from voicestatus.web import admin_socket
from voicestatus.web.access import DiscordApp
from voicestatus.web.auth import cookies
from voicestatus.web.auth.identity import Level

Dial = Callable[..., Any]
OURS = "http://sign.example"
REBOOT = {
    "type": "command",
    "id": "7",
    "device": "desk",
    "command": {"type": "reboot"},
}


def pass_time(side: Any, browser: Any, seconds: float = 0) -> None:
    side.clock.advance(seconds)
    for _ in range(100):
        side.clock.advance(0)
        browser.pump.flush()


@pytest.fixture
def surfer(side: Any, surf: Any) -> Any:
    surfer = surf(side)
    surfer.sign_in()
    return surfer


def dial_as(
    dial: Dial, side: Any, surfer: Any, origin: str | None = OURS, say: Any = None
) -> Any:
    cookie = f"{cookies.SESSION}={surfer.jar.get(cookies.SESSION, 'none')}"
    headers = {"Cookie": cookie} | ({} if origin is None else {"Origin": origin})
    browser = dial(side, say=say, headers=headers)
    pass_time(side, browser)
    return browser


def test_a_page_of_ours_is_let_in_by_its_cookie(side: Any, dial: Dial, surfer: Any):
    browser = dial_as(dial, side, surfer)
    assert [message["type"] for message in browser.heard] == ["snapshot"]
    pass_time(side, browser, admin_socket.AUTH_WITHIN_S)
    assert browser.closed is None


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://sign.example", None]
)
def test_a_cookie_with_a_wrong_origin_or_none_lets_nobody_in(
    side: Any, dial: Dial, surfer: Any, origin: str | None
):
    browser = dial_as(dial, side, surfer, origin)
    assert browser.heard == []
    pass_time(side, browser, admin_socket.AUTH_WITHIN_S)
    assert browser.closed == (1008, "AUTH:<token> is wanted within 5 s")


def test_with_a_wrong_origin_the_token_still_counts(
    side: Any, dial: Dial, surfer: Any, admin_token: str
):
    origin = "http://elsewhere.example"
    browser = dial_as(dial, side, surfer, origin, f"AUTH:{admin_token}")
    assert browser.heard != []


def test_a_session_that_has_ended_leaves_the_token(
    side: Any, dial: Dial, surf: Any, admin_token: str
):
    browser = dial_as(dial, side, surf(side))
    assert (browser.heard, browser.closed) == ([], None)
    browser.say(f"AUTH:{admin_token}")
    pass_time(side, browser)
    assert browser.heard != []


def test_a_cookie_and_a_token_together_let_in_once(
    side: Any, dial: Dial, surfer: Any, admin_token: str
):
    browser = dial_as(dial, side, surfer, say=f"AUTH:{admin_token}")
    assert len(browser.of("snapshot")) == 1


def test_who_is_no_admin_is_not_let_in(
    discord_side: Any, dial: Dial, surf: Any, by_discord: Any
):
    guest = surf(discord_side)
    by_discord(guest)
    browser = dial_as(dial, discord_side, guest)
    assert browser.closed == (1008, "FORBIDDEN")
    assert browser.heard == []


def test_while_the_store_is_away_a_session_is_not_let_in(
    side: Any, dial: Dial, surfer: Any
):
    side.store.running = 0
    browser = dial_as(dial, side, surfer)
    assert browser.closed == (1008, "STORE_UNAVAILABLE")
    side.store.running = 1


def test_a_command_is_noted_with_who_sent_it(side: Any, dial: Dial, surfer: Any):
    side.sign("desk")
    browser = dial_as(dial, side, surfer)
    browser.say(REBOOT)
    pass_time(side, browser)
    assert browser.of("result") != []
    newest = side.ask("GET", "/audit").json["entries"][0]
    assert (newest["actor"], newest["action"]) == (
        "session of the admin token",
        "device.command",
    )


def test_who_signs_out_is_sent_away_with_the_next_ping(
    side: Any, dial: Dial, surfer: Any
):
    browser = dial_as(dial, side, surfer)
    surfer.write("POST", "/auth/logout")
    pass_time(side, browser, admin_socket.PING_EVERY_S)
    assert browser.closed == (1008, "UNAUTHORIZED")


def test_after_signing_out_no_command_is_done(side: Any, dial: Dial, surfer: Any):
    sign, _ = side.sign("desk")
    browser = dial_as(dial, side, surfer)
    surfer.write("POST", "/auth/logout")
    browser.say(REBOOT)
    pass_time(side, browser)
    assert b'{"type":"reboot"}' not in sign.texts
    assert browser.closed == (1008, "UNAUTHORIZED")


def test_a_store_that_is_away_for_a_while_sends_nobody_away(
    side: Any, dial: Dial, surfer: Any
):
    browser = dial_as(dial, side, surfer)
    side.store.running = 0
    pass_time(side, browser, admin_socket.PING_EVERY_S)
    side.store.running = 1
    assert browser.closed is None


class Knows:
    """Discord's word on who is an admin."""

    refusal: Refusal | None = None

    async def level_of(self, _user: int) -> Level:
        if self.refusal is not None:
            raise self.refusal
        return Level.ADMIN


def test_while_discord_is_away_admins_look_on_and_command_nothing(
    make_side: Any, dial: Dial, surf: Any, oauth: Any, by_discord: Any
):
    knows = Knows()
    app = DiscordApp(oauth, (), knows)
    side = make_side(discord=app, public_url=OURS)
    sign, _ = side.sign("desk")
    surfer = surf(side)
    by_discord(surfer)
    browser = dial_as(dial, side, surfer)
    knows.refusal = Refusal("DISCORD_UNAVAILABLE", "no answer")
    for _ in range(3):
        pass_time(side, browser, admin_socket.PING_EVERY_S)
    browser.say(REBOOT)
    pass_time(side, browser)
    (error,) = browser.of("error")
    assert error["error"]["code"] == "DISCORD_UNAVAILABLE"
    assert dial_as(dial, side, surfer).closed == (1008, "DISCORD_UNAVAILABLE")
    knows.refusal = None
    browser.say(REBOOT)
    pass_time(side, browser)
    assert sign.texts.count(b'{"type":"reboot"}') == 1
    surfer.write("POST", "/auth/logout")
    knows.refusal = Refusal("DISCORD_UNAVAILABLE", "no answer")
    pass_time(side, browser, admin_socket.PING_EVERY_S)
    assert browser.closed == (1008, "UNAUTHORIZED")


def token(side: Any, *scopes: str) -> Any:
    body = {"name": "program", "scopes": list(scopes)}
    return side.ask("POST", "/tokens", body).json


def test_an_api_token_that_may_read_is_let_in_to_read(side: Any, dial: Dial):
    sign, _ = side.sign("desk")
    browser = dial(side, say=f"AUTH:{token(side, 'read')['token']}")
    assert browser.of("snapshot") != []
    browser.say(REBOOT)
    pass_time(side, browser)
    (error,) = browser.of("error")
    assert error["error"]["code"] == "FORBIDDEN"
    assert b'{"type":"reboot"}' not in sign.texts


def test_one_for_devices_too_commands_them(side: Any, dial: Dial):
    sign, _ = side.sign("desk")
    browser = dial(side, say=f"AUTH:{token(side, 'read', 'devices')['token']}")
    browser.say(REBOOT)
    pass_time(side, browser)
    assert b'{"type":"reboot"}' in sign.texts


def test_one_that_may_not_read_is_not_let_in(side: Any, dial: Dial):
    browser = dial(side, say=f"AUTH:{token(side, 'devices')['token']}")
    assert browser.closed == (1008, "FORBIDDEN")


def test_one_that_is_revoked_is_sent_away_with_the_next_ping(side: Any, dial: Dial):
    made = token(side, "read")
    browser = dial(side, say=f"AUTH:{made['token']}")
    side.ask("DELETE", f"/tokens/{made['id']}")
    pass_time(side, browser, admin_socket.PING_EVERY_S)
    assert browser.closed == (1008, "UNAUTHORIZED")
