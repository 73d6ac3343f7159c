"""What REST tells of the bot and lets through: tokens, limits, faults."""

import pytest

from voicestatus.simulator import intents
from voicestatus.simulator.payloads import Overwrite
from voicestatus.simulator.world import BOT_PERMISSIONS, EVERYONE

GUILD = 1187000000000000001
VIEW = 1 << 10


def test_the_guilds_of_the_bot_show_what_its_roles_allow(api):
    _, (guild,) = api.ask("GET", "/users/@me/guilds")
    assert int(guild["permissions"]) == BOT_PERMISSIONS | EVERYONE
    for role in api.home.roles:
        role.permissions = 0
    _, (guild,) = api.ask("GET", "/users/@me/guilds")
    assert guild["permissions"] == "0"


def test_a_channel_shows_its_overwrites(api):
    room = api.room("Lounge")
    room.overwrites = (Overwrite(9, allow=1, of_member=True), Overwrite(8, deny=2))
    _, told = api.ask("GET", f"/guilds/{GUILD}/channels")
    shown = next(channel for channel in told if channel["id"] == str(room.id))
    assert shown["permission_overwrites"] == [
        {"id": "9", "type": 1, "allow": "1", "deny": "0"},
        {"id": "8", "type": 0, "allow": "0", "deny": "2"},
    ]


def test_a_channel_that_the_bot_cannot_see_is_left_out(api):
    room = api.room("Lounge")
    room.overwrites = (Overwrite(GUILD, deny=VIEW),)
    _, told = api.ask("GET", f"/guilds/{GUILD}/channels")
    assert str(room.id) not in {channel["id"] for channel in told}
    assert len(told) == len(api.home.channels) - 1


def test_flags_tell_which_privileged_intents_are_switched_on(api, make_api):
    assert api.ask("GET", "/applications/@me")[1]["flags"] == 565_248
    off = make_api(disallowed_intents=intents.GUILD_MEMBERS | intents.GUILD_PRESENCES)
    assert off.ask("GET", "/applications/@me")[1]["flags"] == 1 << 19


# -- limits ------------------------------------------------------------------------


def test_the_51st_call_in_a_second_is_a_429_of_its_bucket(api):
    codes = [api.ask("GET", "/gateway")[0] for _ in range(51)]
    assert codes == [200] * 50 + [429]
    api.clock.advance(1)
    assert api.ask("GET", "/gateway")[0] == 200


def test_each_caller_has_fifty_calls_a_second_whatever_the_route(api):
    codes = [api.ask("GET", f"/users/{n}")[0] for n in range(30)]
    codes += [api.ask("GET", f"/guilds/{n}")[0] for n in range(20)]
    assert set(codes) == {404}
    status, said = api.ask("GET", "/users/@me")
    assert (status, said["global"]) == (429, True)
    assert api.header("x-ratelimit-global") == "true"
    assert api.header("x-ratelimit-scope") == "global"
    api.clock.advance(said["retry_after"])
    assert api.ask("GET", "/users/@me")[0] == 200


def test_a_429_tells_how_long_to_wait_in_its_body_and_headers(api):
    room = api.room("general").id
    for _ in range(5):
        api.ask("POST", f"/channels/{room}/messages", {"content": "hi"})
    api.clock.advance(3.4)
    status, said = api.ask("POST", f"/channels/{room}/messages", {"content": "hi"})
    assert status == 429
    assert (said["retry_after"], said["global"]) == (1.6, False)
    assert api.header("retry-after") == "2"
    assert api.header("x-ratelimit-limit") == "5"
    assert api.header("x-ratelimit-remaining") == "0"
    assert api.header("x-ratelimit-reset-after") == "1.600"


def test_giving_and_taking_a_role_share_a_bucket(api):
    dj = next(role.id for role in api.home.roles if role.name == "DJ")
    path = f"/guilds/{GUILD}/members/{api.home.owner}/roles/{dj}"
    assert api.ask("PUT", path)[0] == 204
    bucket = api.header("x-ratelimit-bucket")
    assert api.ask("DELETE", path)[0] == 204
    assert api.header("x-ratelimit-bucket") == bucket
    assert api.header("x-ratelimit-remaining") == "8"


def test_interactions_do_not_count_for_the_global_limit(api):
    for _ in range(50):
        api.ask("GET", "/users/@me")
    status, _ = api.ask(
        "POST", "/interactions/1/x/callback", {"type": 6}, authorization=None
    )
    assert status == 404


def test_too_many_refusals_ban_the_ip(make_api):
    api = make_api(invalid_limit=3)
    for _ in range(3):
        assert api.ask("GET", "/users/@me", authorization="Bot wrong")[0] == 401
    status, said = api.ask("GET", "/users/@me")
    assert (status, said[:6]) == (429, b"<html>")
    assert api.header("x-ratelimit-scope") is None
    api.clock.advance(600)
    assert api.ask("GET", "/users/@me")[0] == 200


# -- faults ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "everywhere"), [("user", False), ("shared", False), ("global", True)]
)
def test_a_told_429_has_its_scope(api, scope, everywhere):
    api.faults.add_rest("/users", 429, 1, 2.5, scope)
    status, said = api.ask("GET", "/users/@me")
    assert (status, said["retry_after"], said["global"]) == (429, 2.5, everywhere)
    assert api.header("x-ratelimit-scope") == scope
    assert api.ask("GET", "/users/@me")[0] == 200


def test_a_ban_is_html(api):
    api.faults.add_rest("", 429, 1, 60.0, "banned")
    status, said = api.ask("GET", "/users/@me")
    assert (status, said[:6], api.header("retry-after")) == (429, b"<html>", "60")


# -- what is noted -----------------------------------------------------------------


def test_the_reason_for_the_audit_log_is_noted(api):
    headers = {"X-Audit-Log-Reason": "f%C3%BCr%20Ada"}
    api.ask("GET", "/users/@me", headers=headers)
    assert api.log.since()[-1]["reason"] == "für Ada"
    long = {"X-Audit-Log-Reason": "x" * 513}
    assert api.ask("GET", "/users/@me", headers=long)[0] == 400


def test_no_token_of_an_interaction_is_noted(api):
    for path in ("/interactions/1/secret/callback", "/webhooks/1/secret"):
        api.ask("POST", path, {}, authorization=None)
    assert "secret" not in repr(api.log.since())


# -- bodies ------------------------------------------------------------------------


def test_what_is_no_json_is_refused_as_discord_does(api):
    path = f"/channels/{api.room('general').id}/messages"
    status, said = api.ask(
        "POST", path, data=b"{", headers={"Content-Type": "application/json"}
    )
    assert (status, said["code"]) == (400, 50109)
    status, said = api.ask("POST", path, data=b"{}")
    assert (status, said["code"]) == (400, 50035)


def test_a_wrong_field_is_named(api):
    path = f"/channels/{api.room('general').id}/messages"
    _, said = api.ask("POST", path, {"content": "x" * 2001})
    assert said["code"] == 50035
    assert list(said["errors"]) == ["content"]
