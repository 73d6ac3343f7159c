"""Turns measurements into docs/performance.md."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.figures import Spread, ratios, spread
from benchmarks.fleet import FLOOR, METRICS, NODE, OURS, Metric, Rounds, column
from benchmarks.plan import Plan

BAR_COUNT = 10_000
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
    events: Sequence[Measured] = ()


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
    if measured.downloads:
        parts.append(_downloads(measured.downloads, plan))
    if measured.whole:
        parts.append(_whole(measured.whole, plan))
    if measured.events:
        parts.append(_events(measured.events, plan))
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

A file of 2 MB, from `twisted.web.static.File` on the signs' own port, downloaded over
and over; a device reads at most 200 KB/s and has a window of 5.7 KB. The downloaders
share the generator's core. The last column is what the server's memory grew by.

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


def _ratio(rounds: Rounds, metric: Metric) -> Spread:
    return ratios(column(rounds, OURS, metric.key), column(rounds, NODE, metric.key))


def _of(rounds: Sequence[Measured], key: str, digits: int) -> str:
    return spread([measured[key] for measured in rounds]).text(digits)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
