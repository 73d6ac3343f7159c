"""What is refused, by whom, and that the program says what to change."""

import json
import socket
from typing import Any

import pytest
import pytest_twisted

story = pytest_twisted.ensureDeferred


@story
async def test_a_wrong_token_hears_noauth_once_and_is_closed(house: Any, soon: Any):
    await house.start()
    sign = await house.sign(token="wrong")
    await sign.closed
    assert sign.heard == ["NOAUTH"]


@story
async def test_one_that_dials_again_and_again_is_held(house: Any, soon: Any):
    await house.start()
    first = await house.sign(token="wrong")
    await first.closed
    second = await house.sign(token="wrong")
    await soon(lambda: second.heard == ["NOAUTH"])
    second.ping()
    await soon(lambda: second.pongs == 1)
    assert not second.closed.called
    assert await house.metric("voicestatus_device_held") == 1
    good = await house.sign()
    await soon(lambda: good.heard[:1] == ["OK"])


@story
async def test_when_discord_refuses_the_bot_the_signs_stay_and_health_says_why(
    house: Any, soon: Any
):
    await house.start()
    sign = await house.sign()
    await house.ready()
    house.discord.stage.fault("close", code=4014)

    async def stopped() -> dict[str, Any]:
        _, body = await house.get("/health")
        return dict(json.loads(body))

    told: dict[str, Any] = {}
    while told.get("gateway") != "stopped":
        told = await stopped()
    status, _ = await house.get("/health")
    assert status == 503
    assert "intent" in told["problem"].lower()
    assert (await house.get("/readyz"))[0] == 503
    assert (await house.get("/livez"))[0] == 200
    assert not sign.closed.called


@story
async def test_a_wrong_bot_token_stops_the_gateway_for_good(house: Any, soon: Any):
    house.discord.startService()
    await house.discord.listening()
    house.discord.stage.fault("http_error", route="/gateway/bot", code=401, count=99)
    await house.start()
    told: dict[str, Any] = {}
    while told.get("gateway") != "stopped":
        told = json.loads((await house.get("/health"))[1])
    assert "DISCORD_TOKEN" in told["problem"]
    asked = [entry for entry in house.discord.log() if entry["kind"] == "rest"]
    assert len(asked) == 1


@story
async def test_the_health_port_has_health_and_nothing_else(house: Any, soon: Any):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    await house.start(HEALTH_PORT=str(free), HOST="127.0.0.1")
    await house.ready()
    assert (await house.get("/health", port=free))[0] == 200
    for path in ("/", "/health/", "/metrics", "/ws"):
        assert await house.get(path, port=free) == (404, b"not found")


@story
async def test_metrics_can_want_a_token(house: Any, soon: Any):
    await house.start(METRICS_TOKEN="scraper")
    assert (await house.get("/metrics"))[0] == 401
    assert (await house.get("/metrics", authorization="Bearer wrong"))[0] == 401
    status, body = await house.get("/metrics", authorization="Bearer scraper")
    assert status == 200
    for name in (
        b"voicestatus_device_connections",
        b"voicestatus_event_to_frame_seconds",
        b"voicestatus_gateway_state",
        b"voicestatus_reactor_lag_seconds",
    ):
        assert name in body


@story
async def test_a_page_that_is_not_there_is_not_found(house: Any, soon: Any):
    await house.start()
    assert await house.get("/nothing?token=x") == (404, b"not found")
    assert (await house.get("/ws"))[0] == 426


@story
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_nobody_reads_is_cut_off(
    house: Any, soon: Any, chunked: bool
):
    await house.start()
    flood = await house.raw()
    head = b"POST /livez HTTP/1.1\r\nHost: a\r\n"
    if chunked:
        flood.send(head + b"Transfer-Encoding: chunked\r\n\r\n")
        piece = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    else:
        flood.send(head + b"Content-Length: 50000000\r\n\r\n")
        piece = b"x" * 0x4000
    for _ in range(100):
        flood.send(piece)
    await soon(lambda: flood.closed.called)
    assert flood.heard.startswith(b"HTTP/1.1 413 ")
    assert flood.heard.count(b"HTTP/1.1") == 1
