"""Health: the original's keys and bytes, and three honest answers."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, Gauge
from twisted.internet.address import IPv4Address
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import LogEvent, LogLevel, eventAsText, globalLogPublisher
from twisted.web.test.requesthelper import DummyRequest

from voicestatus.web.health import (
    ExactTree,
    JsonAnswer,
    Vitals,
    health,
    liveness,
    readiness,
)
from voicestatus.web.metrics import Metrics
from voicestatus.web.site import QuietSite

WELL = Vitals(
    discord_ready=True,
    discord_heard=True,
    gateway="ready",
    problem=None,
    store_problem=None,
    in_step=True,
    guild=1187000000000000001,
    voice_users=3,
    signs=2,
    uptime_s=61.9,
    version="1.2.3",
)


def asked(vitals: Vitals) -> tuple[int, bytes]:
    request = DummyRequest([b""])
    body = JsonAnswer(lambda: health(vitals)).render_GET(request)
    return request.responseCode, body


def test_health_begins_with_the_originals_bytes():
    status, body = asked(WELL)
    assert status == 200
    assert body.startswith(
        b'{"ok":true,"discordReady":true,"guildId":"1187000000000000001",'
        b'"voiceUsers":3,"espClients":2,"uptimeSec":61,'
    )


def test_health_is_503_while_discord_is_not_ready_and_says_what_is_wrong():
    status, body = asked(
        replace(WELL, discord_ready=False, gateway="stopped", problem="wrong token")
    )
    assert status == 503
    told = json.loads(body)
    assert told["ok"] is told["discordReady"] is False
    assert (told["gateway"], told["problem"]) == ("stopped", "wrong token")


def test_with_several_guilds_the_guild_is_null():
    assert health(replace(WELL, guild=None))["guildId"] is None


def test_signs_can_be_served_from_memory_while_discord_is_away():
    away = replace(WELL, discord_ready=False, gateway="waiting", problem="no route")
    assert readiness(away)["ok"] is True


@pytest.mark.parametrize(
    "ill",
    [
        replace(WELL, discord_heard=False, discord_ready=False),
        replace(WELL, discord_ready=False, gateway="stopped", problem="wrong token"),
        replace(WELL, store_problem="the disk is full"),
        replace(WELL, in_step=False),
    ],
)
def test_it_is_not_ready_without_discord_its_store_or_the_other_nodes(ill: Vitals):
    answer = readiness(ill)
    assert answer["ok"] is False
    assert answer["problems"]
    assert liveness(ill)["ok"] is True


@pytest.mark.parametrize(
    ("path", "found"),
    [("/health", True), ("/health/", False), ("/health/x", False), ("/", False)],
)
def test_only_exact_paths_are_found(path: str, found: bool):
    leaf = JsonAnswer(lambda: liveness(WELL))
    tree = ExactTree({"/health": leaf})
    first, *rest = path.encode()[1:].split(b"/")
    request = DummyRequest(rest)
    resource = tree.getChild(first, request)
    assert (resource is leaf) is found
    if not found:
        assert resource.render(request) == b"not found"
        assert request.responseCode == 404


@pytest.fixture
def talk() -> Iterator[list[str]]:
    """Collect what is logged above debug."""
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"] is not LogLevel.debug:
            lines.append(eventAsText(event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


@pytest.mark.parametrize(
    ("path", "status"), [("/health", 200), ("/metrics", 200), ("/nowhere", 404)]
)
def test_a_head_tells_what_a_get_would_and_nothing_is_logged(
    talk: list[str], path: str, status: int
):
    registry = CollectorRegistry()
    Gauge("signs", "Signs.", registry=registry)
    clock = MemoryReactorClock()
    tree = ExactTree(
        {
            "/health": JsonAnswer(lambda: health(WELL)),
            "/metrics": Metrics(registry, None),
        }
    )
    site = QuietSite(tree, clock)

    def answer(method: str) -> tuple[list[bytes], bytes]:
        protocol = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        transport = StringTransport()
        protocol.makeConnection(transport)
        request = f"{method} {path}?token=hunter2 HTTP/1.1\r\nHost: x\r\n\r\n"
        protocol.dataReceived(request.encode())
        head, _, body = transport.value().partition(b"\r\n\r\n")
        told = [line for line in head.split(b"\r\n") if b"Date" not in line]
        return [told[0], *sorted(told[1:])], body

    got, body = answer("GET")
    assert b" %d " % status in got[0]
    assert body
    assert answer("HEAD") == (got, b"")
    assert talk == []
