"""Turns measurements into docs/performance.md."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from benchmarks.crowd import DIALS_PER_S
from benchmarks.figures import Spread, ratios, spread
from benchmarks.fleet import FLOOR, METRICS, NODE, OURS, Metric, Rounds, column
from benchmarks.plan import Plan

BAR_COUNT = 10_000
STORM_BAR_S = 15
MEMORY_BAR = 0.65
RULES_BAR_PERCENT = 20
JOURNAL_BAR = 1.10
FOLLOWER_BAR_MS = 5
STREAM_BAR_MS = 100
PAINT_BAR_MS = 1000
STREAM_BAR_RATIO = 1.2
STREAM_METRICS = (
    Metric("last_ms", "event: to the last reader, ms", 1, STREAM_BAR_RATIO),
    Metric("last_p99_ms", "the same, p99 of the events, ms", 1),
    Metric("p50_ms", "event: p50 of the readers, ms", 1),
    Metric("first_ms", "event: to the first reader, ms", 2),
    Metric("signs_last_ms", "event: to the last sign, ms", 1),
    Metric("event_cpu_ms", "CPU an event, ms", 1),
    Metric("open_cpu_us", "CPU to let a reader in, µs", 0),
    Metric("rss_bytes", "memory a reader, bytes", 0),
    Metric("generator_ms", "the generator's own CPU an event, ms", 1, compared=False),
)
Measured = Mapping[str, float]

_HEAD = """\
# Performance

How fast voicestatus is beside what it replaces, and how to see that yourself:

    make bench

builds a load generator, installs `ws`, measures, and writes this page anew; that takes
{minutes}, a C compiler, Node.js, and two cores with nothing else to do.
`.venv/bin/python -m benchmarks --quick` shows within a minute that all of it works.
All ratios are voicestatus ÷ Node: below 1 is better.

## How it is measured

Three servers speak the devices' wire on plain TCP over the loopback:

- **voicestatus**: the front and the device factory of this program, with a light that
  can be set;
- **Node**: the original's design on `ws`, a `ws.send` for each socket, one round of
  pings every 15 s, a timer for each connection until it said `AUTH`;
- **the floor**: a C program on epoll that does nothing but the wire. What it needs, the
  kernel needs.

A generator in C connects signs as devices do, 100 at a time and as fast as the server
lets them in, orders {flips} changes, and notes when each sign has each of them; the
clock starts just before the order is written. Each server is a fresh process in each of
{rounds} rounds; within a round they run one after the other, in changing order. A ratio
is that of one round's pair. All figures are medians of the rounds, with the least and
the most in brackets. CPU time and resident memory are the server's, read from `/proc`:
the former with what the kernel does in its name, which is most of a flip. At rest each
sign pings, and is pinged, once in 15 s.
"""


@dataclass(frozen=True, slots=True)
class Parts:
    """What was measured; a part that was not is empty."""

    fleet: Mapping[int, Rounds]
    downloads: Sequence[Measured] = ()
    whole: Sequence[Measured] = ()
    storm: Sequence[Measured] = ()
    rules: Sequence[Measured] = ()
    events: Sequence[Measured] = ()
    journal: Sequence[Measured] = ()
    nodes: Sequence[Measured] = ()
    streams: Rounds = field(default_factory=dict)
    dashboard: Sequence[Measured] = ()


def page(
    machine: Mapping[str, str],
    plan: Plan,
    measured: Parts,
    minutes: str,
) -> str:
    """Write the whole page; what was not measured is left out of it."""
    parts = [_HEAD.format(flips=plan.flips, rounds=plan.rounds, minutes=minutes)]
    parts.append(f"## The machine\n\n{_table(('', ''), machine.items())}")
    fleet = measured.fleet
    if BAR_COUNT in fleet:
        parts.append(_bars(fleet[BAR_COUNT]))
    parts += [_fleet(count, rounds) for count, rounds in sorted(fleet.items())]
    in_rounds = (
        (measured.downloads, _downloads),
        (measured.whole, _whole),
        (measured.storm, partial(_storm, fleet=fleet.get(plan.storm_count))),
        (measured.rules, _rules),
        (measured.events, _events),
        (measured.journal, _journal),
        (measured.nodes, _nodes),
        (measured.dashboard, _dashboard),
    )
    parts += [write(rounds, plan) for rounds, write in in_rounds if rounds]
    if measured.streams:
        parts.append(_streams(measured.streams, plan))
    return "\n".join(parts)


def _bars(rounds: Rounds) -> str:
    rows = []
    for metric in METRICS:
        if metric.bar is not None:
            ratio = _ratio(rounds, metric)
            met = "met" if ratio.median <= metric.bar else "**missed**"
            rows.append((metric.title, f"≤ {metric.bar:.2f}", ratio.text(3), met))
    head = ("voicestatus ÷ Node", "bar", "measured", "")
    return f"## The bars, at {BAR_COUNT:,} signs\n\n{_table(head, rows)}"


def _fleet(count: int, rounds: Rounds) -> str:
    rows = []
    for metric in METRICS:
        columns = [column(rounds, name, metric.key) for name in (OURS, NODE, FLOOR)]
        if all(columns):
            texts = [spread(values).text(metric.digits) for values in columns]
            ratio = _ratio(rounds, metric).text(2) if metric.compared else ""
            rows.append((metric.title, ratio, *texts))
    head = ("", "voicestatus ÷ Node", "voicestatus", "Node", "floor")
    return f"## {count:,} signs\n\n{_table(head, rows)}"


def _downloads(rounds: Sequence[Measured], plan: Plan) -> str:
    metrics = (
        ("first_ms", 2),
        ("p99_ms", 1),
        ("worst_ms", 1),
        ("mb_per_s", 0),
        ("rss_mb", 1),
    )
    rows = [
        (title, *(_of(rounds, f"{kind}_{key}", digits) for key, digits in metrics))
        for kind, title in (
            ("none", "no download"),
            ("slow", f"{plan.downloads} as a device takes them"),
            ("fast", f"{plan.downloads} as fast as they go"),
        )
    ]
    head = ("", "flip: first, ms", "p99, ms", "worst last, ms", "MB/s", "memory, MB")
    return f"""\
## Downloads beside {plan.download_signs:,} signs

An image of 2 MB from `/ota/check`, on the signs' own port, downloaded over and over by
as many addresses; a device reads at most 200 KB/s and has a window of 5.7 KB. All of
them together are given 32 MB/s. The downloaders share the generator's core. The last
column is what the server's memory grew by.

{_table(head, rows)}"""


def _whole(rounds: Sequence[Measured], plan: Plan) -> str:
    rows = [
        ("one sign, p50, ms", _of(rounds, "one_p50_ms", 2)),
        ("one sign, p99, ms", _of(rounds, "one_p99_ms", 2)),
        (
            f"the last of {plan.whole_count:,} signs, p50, ms",
            _of(rounds, "many_last_ms", 1),
        ),
    ]
    return f"""\
## From Discord to the sign

The whole program under `twistd`, with SQLite, at a simulated Discord (which shares the
generator's core). From the order that somebody joins or leaves, over the Gateway
(WebSocket, zstd, JSON), to the frame in the sign.

{_table(("", "measured"), rows)}"""


def _storm(rounds: Sequence[Measured], plan: Plan, fleet: Rounds | None) -> str:
    right = spread([measured["right_s"] for measured in rounds])
    rows = [
        ("the first sign is connected, s", _of(rounds, "first_s", 1), "", ""),
        ("all are connected, s", _of(rounds, "connected_s", 1), "", ""),
        (
            "all are lit right, s",
            right.text(1),
            *_judged(right.most, STORM_BAR_S, f"≤ {STORM_BAR_S}"),
        ),
        (
            "the longest wait of a connected sign for a pong, ms",
            _of(rounds, "longest_pong_ms", 0),
            "",
            "",
        ),
        ("the server's CPU until then, s", _of(rounds, "cpu_s", 1), "", ""),
        ("before that: all are lit and enrolled, s", _of(rounds, "enrol_s", 1), "", ""),
        ("CPU to enrol one, µs", _of(rounds, "enrol_cpu_us", 0), "", ""),
        ("memory a sign, its record too, bytes", _of(rounds, "rss_bytes", 0), "", ""),
    ]
    if fleet is not None:
        node = spread(column(fleet, NODE, "rss_bytes")).median
        memory = spread([measured["rss_bytes"] / node for measured in rounds])
        judged = _judged(memory.median, MEMORY_BAR, f"≤ {MEMORY_BAR:.2f}")
        rows.append(("the same ÷ Node", memory.text(3), *judged))
    return f"""\
## A storm of {plan.storm_count:,} signs

The whole program under `twistd`, with SQLite, and signs of version 2, from
`simulate-signs`, which enrol and get tokens of their own. Then the server is killed
(`SIGKILL`), somebody joins voice, and it is started again on the same store, while all
signs dial, {DIALS_PER_S:,} times a second together, with a hello each. Times count from
the start of the process; the signs share the generator's core with the simulated
Discord.

{_table(("", "measured", "bar", ""), rows)}"""


def _rules(rounds: Sequence[Measured], plan: Plan) -> str:
    cpu = spread([measured["cpu_percent"] for measured in rounds])
    rows = [
        (
            "CPU, % of a core",
            cpu.text(1),
            *_judged(cpu.median, RULES_BAR_PERCENT, f"≤ {RULES_BAR_PERCENT}"),
        ),
        ("changes a second", _of(rounds, "rate_per_s", 0), "", ""),
        ("signs told a second", _of(rounds, "told_per_s", 0), "", ""),
        ("the longest that one change takes, ms", _of(rounds, "longest_ms", 1), "", ""),
        ("to begin to follow a rule, µs", _of(rounds, "follow_us", 0), "", ""),
    ]
    return f"""\
## {plan.rules:,} different rules

Presence and lights with {plan.rules:,} followers, each with a rule of its own, over
{plan.rule_guilds} guilds, while {plan.rule_rate_per_s} voice changes a second come in
as Discord sends them.

{_table(("", "measured", "bar", ""), rows)}"""


def _judged(value: float, bar: float, text: str) -> tuple[str, str]:
    return text, "met" if value <= bar else "**missed**"


def _events(rounds: Sequence[Measured], plan: Plan) -> str:
    first = rounds[0]
    events = [
        (
            "decoded, judged, applied to presence and lights",
            _of(rounds, "applied_per_s", 0),
        ),
        (
            "the same, with WebSocket frames and zstd, from the socket's bytes on",
            _of(rounds, "whole_per_s", 0),
        ),
    ]
    rate = [
        ("CPU, % of a core", _of(rounds, "rate_cpu_percent", 1)),
        (
            "the longest that a batch waits until it is worked off, ms",
            _of(rounds, "rate_wait_ms", 1),
        ),
    ]
    stall = [
        ("the longest time that the reactor does nothing else, ms", "guild_stall_ms"),
        ("all of it, ms", "guild_total_ms"),
        ("a sign's ping: the longest until its pong, at rest, ms", "rest_pong_ms"),
        ("the same while such guilds come in one after the other, ms", "guild_pong_ms"),
    ]
    guild = [(title, _of(rounds, key, 1)) for title, key in stall]
    return f"""\
## Discord's events

Voice changes a second that one core keeps up with, {first["event_bytes"]:,.0f} bytes
each. Decoding alone takes {_of(rounds, "decode_us", 1)} µs.

{_table(("", "a second"), events)}
{_of(rounds, "rate_per_s", 0)} a second for {plan.rate_s} s, on real sockets, in batches
of 10 ms; the CPU time is all that the process needs, the kernel's part too.

{_table(("", "measured"), rate)}
A guild with {first["guild_members"]:,.0f} members, all of them told in one GUILD_CREATE
of {first["guild_bytes"] / 1e6:.1f} MB (Discord tells all only to a bot that asks for
presences, which voicestatus does not). The slowest of several in each round. The last
two lines: a sign of the same process, on real sockets, that pings once a millisecond.

{_table(("", "measured"), guild)}"""


def _journal(rounds: Sequence[Measured], plan: Plan) -> str:
    ratio = spread([measured["journal_ratio"] for measured in rounds])
    rows = [
        ("nothing is stored: CPU, % of a core", "journal_none_cpu_percent"),
        ("`memory:`", "journal_memory_cpu_percent"),
        ("`sqlite:`", "journal_sqlite_cpu_percent"),
    ]
    lines = [(title, _of(rounds, key, 1), "", "") for title, key in rows]
    judged = _judged(ratio.median, JOURNAL_BAR, f"≤ {JOURNAL_BAR:.2f}")
    lines.append(("`sqlite:` ÷ `memory:`", ratio.text(2), *judged))
    return f"""\
## What storing the presence costs

500 voice changes a second for {plan.journal_s} s, one by one on a real socket, of 500
people who each change once a second: no two changes of one person share a write, which
is the worst case. The CPU time is all that the process needs, the store's thread and
the kernel's part too.

{_table(("", "measured", "bar", ""), lines)}"""


def _nodes(rounds: Sequence[Measured], plan: Plan) -> str:
    rows = [
        ("a sign of the holder, p50, ms", "holder_p50_ms"),
        ("p99", "holder_p99_ms"),
        ("a sign of the node that follows, p50", "follower_p50_ms"),
        ("p99", "follower_p99_ms"),
        ("so much later, p50", "added_p50_ms"),
    ]
    lines = [(title, _of(rounds, key, 2), "", "") for title, key in rows]
    added = spread([measured["added_p99_ms"] for measured in rounds])
    judged = _judged(added.median, FOLLOWER_BAR_MS, f"≤ {FOLLOWER_BAR_MS}")
    lines.append(("so much later, p99", added.text(2), *judged))
    return f"""\
## Two nodes

Somebody comes or goes in a simulated Discord, {plan.one_sign_changes} times; two whole
programs share a Redis and a core. From the change to a sign's frame, on the node that
holds the shard and on the one that follows it.

{_table(("", "measured", "bar", ""), lines)}"""


def _streams(rounds: Rounds, plan: Plan) -> str:
    rows = []
    for metric in STREAM_METRICS:
        columns = [column(rounds, name, metric.key) for name in (OURS, NODE)]
        texts = [spread(values).text(metric.digits) for values in columns]
        ratio = _ratio(rounds, metric) if metric.compared else None
        judged = ("", "")
        if ratio is not None and metric.bar is not None:
            judged = _judged(ratio.median, metric.bar, f"≤ {metric.bar:.2f}")
        shown = "" if ratio is None else ratio.text(2)
        rows.append((metric.title, *texts, shown, *judged))
    longest = spread(column(rounds, OURS, "last_p99_ms"))
    bar = _judged(longest.median, STREAM_BAR_MS, f"≤ {STREAM_BAR_MS}")
    rows[1] = (*rows[1][:4], *bar)
    head = ("", "voicestatus", "Node", "voicestatus ÷ Node", "bar", "")
    return f"""\
## {plan.stream_readers:,} readers of a voice stream beside {plan.stream_signs:,} signs

Somebody joins or leaves, {plan.stream_events} times; all signs of the process change
their light, and all readers of `voice-stream` are told. From the order to the arrival.
Node: `http` and an EventEmitter with a `response.write` for each reader, `ws` for the
signs; it makes each text once, too. What numbers and keeps the events for those who
come back, looks who may see them, and bounds slow readers, it does without.

{_table(head, rows)}"""


def _dashboard(rounds: Sequence[Measured], _plan: Plan) -> str:
    looks = ("sign_in", "first", "again")
    metrics = (
        ("requests", "requests", 0),
        ("bytes", "bytes on the wire", 0),
        ("unpacked_bytes", "the same, unpacked", 0),
        ("first_paint_ms", "first contentful paint, ms", 0),
        ("largest_paint_ms", "largest contentful paint, ms", 0),
    )
    rows = [
        (title, *(_of(rounds, f"{look}_{key}", digits) for look in looks))
        for key, title, digits in metrics
    ]
    slowest = max(each[f"{look}_first_paint_ms"] for each in rounds for look in looks)
    _, met = _judged(slowest, PAINT_BAR_MS, "")
    head = ("", "the page to sign in", "the overview, first time", "again")
    return f"""\
## The dashboard

The whole program and Chromium, without a GPU, on one machine; signed in with the admin
token. Requests are all but the voice stream, which stays open. The first paint is to
take less than {PAINT_BAR_MS:,} ms: {met}.

{_table(head, rows)}"""


def _ratio(rounds: Rounds, metric: Metric) -> Spread:
    return ratios(column(rounds, OURS, metric.key), column(rounds, NODE, metric.key))


def _of(rounds: Sequence[Measured], key: str, digits: int) -> str:
    return spread([measured[key] for measured in rounds]).text(digits)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
