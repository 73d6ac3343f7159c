"""How the whole is, from what is measured; and what is said of what is wrong."""

from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Enum, Gauge, Histogram

from voicestatus.core.features import Feature
from voicestatus.core.storage_address import InFile, InMemory, parse
from voicestatus.discord.gateway.metrics import GatewayMetrics
from voicestatus.web.api.status import StatusSubject
from voicestatus.web.health import Vitals
from voicestatus.web.readings import Readings
from voicestatus.web.status import EVENT_TO_FRAME, Facts, status_of

WELL = Vitals(
    discord_ready=True,
    discord_heard=True,
    gateway="ready",
    problem=None,
    store_problem=None,
    in_step=True,
    guild=None,
    voice_users=3,
    signs=2,
    uptime_s=12.5,
    version="1.2.3",
)
FACTS = Facts(WELL, InFile("a.db"), (), {})


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def shown(registry: CollectorRegistry, facts: Facts = FACTS) -> Any:
    return status_of(facts, Readings.of(registry.collect()))


def test_of_a_server_that_has_just_begun_little_is_known_and_nothing_is_wrong(
    registry: CollectorRegistry,
):
    GatewayMetrics(registry)
    status = shown(registry)
    assert status.warnings == []
    assert (status.event_to_frame.count, status.event_to_frame.p99_s) == (0, None)
    assert (status.identifies_left, status.nodes, status.shards) == (None, None, [])
    assert (status.uptime_s, status.people_in_voice, status.store) == (12, 3, "sqlite")


def test_a_histogram_is_shown_bucket_by_bucket(registry: CollectorRegistry):
    took = Histogram(EVENT_TO_FRAME, "", registry=registry, buckets=(0.001, 0.01, 0.1))
    for seconds in [0.0005] * 60 + [0.005] * 39 + [3.0]:
        took.observe(seconds)
    told = shown(registry).event_to_frame
    assert [(b.up_to_s, b.count) for b in told.buckets] == [
        (0.001, 60),
        (0.01, 39),
        (0.1, 0),
        (None, 1),
    ]
    assert (told.count, told.p50_s, told.p99_s) == (100, 0.001, 0.01)
    assert told.mean_s == pytest.approx(0.03225)
    assert shown(registry).warnings == []
    took.observe(3.0)
    late = shown(registry)
    assert late.event_to_frame.p99_s is None
    assert "100 ms late" in late.warnings[0].text


def test_each_shard_says_what_its_link_does(registry: CollectorRegistry):
    metrics = GatewayMetrics(registry)
    metrics.state.labels("10").state("ready")
    metrics.latency.labels("10").set(0.04)
    metrics.state.labels("9").state("resuming")
    metrics.resumes.labels("9").inc(2)
    metrics.identifies.labels("8").inc()
    metrics.reconnects.labels("9", "zombie").inc()
    metrics.identifies_left.set(7)
    status = shown(registry)
    assert [(s.shard, s.state, s.heartbeat_s, s.resumes) for s in status.shards] == [
        (8, "elsewhere", None, 0),
        (9, "resuming", None, 2),
        (10, "ready", 0.04, 0),
    ]
    assert status.shards[1].ended == {"zombie": 1}
    assert status.identifies_left == 7
    assert "7 more new sessions" in status.warnings[0].text


@pytest.mark.parametrize(
    ("facts", "severity", "text"),
    [
        (replace(FACTS, vitals=replace(WELL, store_problem="the disk is full")),
         "bad", "the disk is full"),
        (replace(FACTS, vitals=replace(WELL, discord_ready=False, problem="No token.")),
         "bad", "No token."),
        (replace(FACTS, vitals=replace(WELL, in_step=False)), "bad", "the others"),
        (replace(FACTS, storage=InMemory()), "warn", "forgets signs"),
        (replace(FACTS, risks=(("no appendonly", "set it"),)), "warn", "no appendonly"),
        (replace(FACTS, switched_off={Feature.MEMBERS: "Switch it on in the portal."}),
         "warn", "members is off"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_what_to_do(
    registry: CollectorRegistry, facts: Facts, severity: str, text: str
):
    (warned,) = shown(registry, facts).warnings
    assert warned.severity == severity
    assert text in warned.text
    assert warned.remedy


def test_a_limit_of_files_is_warned_of_before_it_is_reached(
    registry: CollectorRegistry,
):
    Gauge("process_open_fds", "", registry=registry).set(950)
    Gauge("process_max_fds", "", registry=registry).set(1000)
    (warned,) = shown(registry).warnings
    assert "950 of 1000" in warned.text


def test_several_nodes_are_counted(registry: CollectorRegistry):
    Gauge("voicestatus_nodes", "", registry=registry).set(3)
    Gauge("voicestatus_node_shards", "", registry=registry).set(1)
    Gauge("voicestatus_node_shards_in_step", "", registry=registry).set(2)
    status = shown(registry, replace(FACTS, storage=parse("redis://h:1/0")))
    assert (status.nodes.living, status.nodes.shards_held) == (3, 1)
    assert status.store == "redis"


def test_admins_alone_see_it(side: Any, serve: Any):
    Enum("a_state", "", states=["on"], registry=side.metrics)
    subject = StatusSubject(side.metrics, lambda: WELL, side.store, InMemory(), dict)
    ask = serve(side, subject)
    assert ask("GET", "/status", token=None).status == 401
    told = ask("GET", "/status").json
    assert told["version"] == "1.2.3"
    assert told["store"] == "memory"
