"""A sign with an identity: enrolled, given a rule, asked why, moved, taken away."""

from typing import Any

import pytest_twisted

HELLO = {
    "type": "hello",
    "v": 2,
    "id": "a4cf12b3d901",
    "chip": "esp32",
    "board": "m5stick",
    "fw": "1.4.0",
    "build": 14,
    "caps": ["light"],
    "boot": "power",
}
ID = HELLO["id"]
ROOMS = ("Lounge", "Games")


async def enrolled(house: Any, soon: Any) -> tuple[Any, str]:
    """Let the device say hello with the shared token; return it and its token."""
    sign = await house.sign()
    await soon(lambda: "OK" in sign.heard)
    sign.say(HELLO)
    await soon(lambda: sign.said("welcome"))
    return sign, sign.said("welcome")["token"]


@pytest_twisted.ensureDeferred
async def test_a_sign_gets_a_token_and_is_known_by_it_after_a_restart(house, soon):
    await house.start()
    await house.ready()
    _, token = await enrolled(house, soon)
    assert token.startswith("vsd_")
    status, device = await house.api("GET", f"/devices/{ID}")
    assert status == 200
    assert (device["chip"], device["fw"], device["build"]) == ("esp32", "1.4.0", 14)
    assert device["connected"]

    await house.stop()
    await house.start()
    await house.ready()
    back = await house.sign(token=token)
    await soon(lambda: "OK" in back.heard)
    _, device = await house.api("GET", f"/devices/{ID}")
    assert device["connected"]
    assert device["tokens"][0]["firstUsedAt"]
    back.say(HELLO)
    await soon(lambda: back.said("welcome"))
    assert "token" not in back.said("welcome")


@pytest_twisted.ensureDeferred
async def test_a_token_in_use_cannot_be_had_again_with_the_shared_one(house, soon):
    await house.start()
    await house.ready()
    sign, token = await enrolled(house, soon)
    sign.transport.abortConnection()
    own = await house.sign(token=token)
    await soon(lambda: "OK" in own.heard)
    thief = await house.sign()
    await soon(lambda: "OK" in thief.heard)
    thief.say(HELLO)
    await soon(lambda: thief.said("error"))
    assert thief.said("error")["code"] == "ALREADY_ENROLLED"
    assert thief.said("welcome") is None
    assert own.closed.called is False


@pytest_twisted.ensureDeferred
async def test_a_rule_moves_a_sign_at_once_and_can_be_explained(house, soon):
    await house.start()
    await house.ready()
    guild = house.guild
    lounge, other = (c.id for c in guild.channels.values() if c.name in ROOMS)
    house.discord.stage.voice(guild.id, 7001, lounge)
    sign, _ = await enrolled(house, soon)
    await soon(lambda: sign.light == "1")
    assert sign.said("light")["count"] == 1

    rule = {"channels": [str(other)], "minCount": 2, "color": "#00ff00"}
    status, device = await house.api("PATCH", f"/devices/{ID}", {"rule": rule})
    assert status == 200, device
    assert device["rule"] == rule
    await soon(lambda: sign.light == "0")
    house.discord.stage.voice(guild.id, 7001, other)
    house.discord.stage.voice(guild.id, 7002, other)
    await soon(lambda: sign.light == "1")
    await soon(lambda: sign.said("light")["count"] == 2)
    assert sign.said("light")["color"] == "#00ff00"
    house.discord.stage.voice(guild.id, 7003, lounge)
    status, why = await house.api("GET", f"/devices/{ID}/explain")
    assert status == 200
    assert (why["counted"], why["needed"]) == (2, 2)
    assert why["excluded"] == {"channel": 1}
    assert why["light"]["on"]

    for wrong, key in [
        ({"chanels": []}, "chanels"),
        ({"channels": []}, "channels"),
        ({"quiet": [{"from": "25:00", "to": "07:00", "tz": "UTC"}]}, "quiet[0].from"),
    ]:
        status, answer = await house.api("PATCH", f"/devices/{ID}", {"rule": wrong})
        assert status == 400
        assert answer["error"]["code"] == "VALIDATION_FAILED"
        assert key in answer["error"]["message"]


@pytest_twisted.ensureDeferred
async def test_a_rotated_token_comes_by_itself_and_both_work_meanwhile(house, soon):
    await house.start()
    await house.ready()
    sign, old = await enrolled(house, soon)
    sign.transport.abortConnection()
    sign = await house.sign(token=old)
    await soon(lambda: "OK" in sign.heard)
    sign.say(HELLO)
    await soon(lambda: sign.said("welcome"))
    status, answer = await house.api("POST", f"/devices/{ID}/token")
    assert status == 200, answer
    await soon(lambda: sign.said("welcome").get("token"))
    new = sign.said("welcome")["token"]
    assert new != old
    for token in (old, new, old):
        again = await house.sign(token=token)
        await soon(lambda again=again: "OK" in again.heard)


@pytest_twisted.ensureDeferred
async def test_a_revoked_sign_is_out_at_once_and_stays_out(house, soon):
    await house.start()
    await house.ready()
    sign, token = await enrolled(house, soon)
    status, _ = await house.api("PATCH", f"/devices/{ID}", {"revoked": True})
    assert status == 200
    await sign.closed
    again = await house.sign(token=token)
    await again.closed
    assert again.heard == ["NOAUTH"]
    assert "NOAUTH" not in sign.heard  # it would open the portal


@pytest_twisted.ensureDeferred
async def test_enrolment_by_approval_waits_for_an_admin(house, soon):
    await house.start(ENROLMENT="approve")
    await house.ready()
    sign = await house.sign()
    await soon(lambda: sign.light == "0")
    sign.say(HELLO)
    await soon(lambda: sign.said("welcome"))
    assert "token" not in sign.said("welcome")
    status, _ = await house.api("PATCH", f"/devices/{ID}", {"approved": True})
    assert status == 200
    await soon(lambda: sign.said("welcome").get("token"))


@pytest_twisted.ensureDeferred
async def test_an_old_sign_is_listed_and_may_have_a_token_of_its_own(house, soon):
    await house.start()
    await house.ready()
    await house.sign("/ws?guild=1187000000000000001")
    status, made = await house.api("POST", "/devices", {"id": "hall", "name": "Hall"})
    assert status == 201
    own = await house.sign(token=made["token"])
    await soon(lambda: own.light == "0")
    _, listed = await house.api("GET", "/devices")
    paths = {d["id"]: d["path"] for d in listed["devices"]}
    assert paths.pop("hall") == "/ws"
    [(stranger, path)] = paths.items()
    assert stranger.startswith("conn-")
    assert path == "/ws?guild=1187000000000000001"
    status, answer = await house.api(
        "POST", "/devices/hall/commands", {"type": "identify"}
    )
    assert (status, answer["error"]["code"]) == (409, "COMMAND_NOT_SUPPORTED")


@pytest_twisted.ensureDeferred
async def test_a_command_reaches_its_sign(house, soon):
    await house.start()
    await house.ready()
    sign, _ = await enrolled(house, soon)
    command = {"type": "identify", "seconds": 3}
    status, _ = await house.api("POST", f"/devices/{ID}/commands", command)
    assert status == 202
    await soon(lambda: sign.said("identify") == command)
    sign.say({"type": "status", "uptimeS": 5, "rssiDbm": -60, "heapFreeB": 20000})

    async def reported() -> bool:
        _, device = await house.api("GET", f"/devices/{ID}")
        return device["rssiDbm"] == -60

    while not await reported():
        pass


@pytest_twisted.ensureDeferred
async def test_without_an_admin_token_there_is_no_admin_side(house):
    await house.start(ADMIN_TOKEN="")
    await house.ready()
    for path in ("/api/v1/devices", "/api/v1/openapi.json", "/admin/ws"):
        status, _ = await house.get(path)
        assert status == 404, path
