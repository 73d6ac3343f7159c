"""Many readers of an event stream on one server, and as many signs: ours, and Node."""

import sys
import time
from statistics import median

from benchmarks.build import HERE, node_peer
from benchmarks.figures import percentile
from benchmarks.fleet import NODE, OURS, Command, Measured, Rounds
from benchmarks.plan import Plan
from benchmarks.process import SERVER_CORE, cpu_s, ports_of, rss_bytes, running
from benchmarks.readers import reading
from benchmarks.signs import TOKEN

WARMED_UP = 5


def ours() -> Command:
    """Return the command of our server."""
    return sys.executable, "-m", "benchmarks.stream_server", TOKEN


def servers() -> dict[str, Command]:
    """Return the command of each server."""
    node, _ = node_peer()
    return {
        OURS: ours(),
        NODE: (node, HERE / "peers" / "node" / "streams.js", TOKEN),
    }


def compare(plan: Plan) -> Rounds:
    """Measure both, round by round in changing order."""
    commands = servers()
    rounds: Rounds = {name: [] for name in commands}
    for n in range(plan.rounds):
        names = list(commands)
        for name in names[n % len(names) :] + names[: n % len(names)]:
            sys.stderr.write(
                f"readers of a stream, round {n + 1} of {plan.rounds}: {name}\n"
            )
            rounds[name].append(measure(commands[name], plan))
    return rounds


def measure(command: Command, plan: Plan) -> Measured:
    """Start a server, let signs and readers come, and let things happen."""
    with running(command, SERVER_CORE, cwd=HERE.parent) as server:
        port, control = ports_of(server)
        with reading(port, control) as crowd:
            crowd.open("signs", plan.stream_signs)
            time.sleep(plan.settle_s)
            rss, cpu = rss_bytes(server.pid), cpu_s(server.pid)
            crowd.open("readers", plan.stream_readers)
            opened = cpu_s(server.pid) - cpu
            time.sleep(plan.settle_s)
            rss = rss_bytes(server.pid) - rss
            crowd.tell(WARMED_UP, plan.quiet_ms)
            cpu = cpu_s(server.pid)
            told = crowd.tell(plan.stream_events, plan.quiet_ms)
            cpu = cpu_s(server.pid) - cpu
    lasts = [event.last_ms for event in told]
    return {
        "last_ms": median(lasts),
        "last_p99_ms": percentile(lasts, 0.99),
        "p50_ms": median(event.p50_ms for event in told),
        "first_ms": median(event.first_ms for event in told),
        "signs_last_ms": median(event.signs_last_ms for event in told),
        "event_cpu_ms": cpu / plan.stream_events * 1e3,
        "open_cpu_us": opened / plan.stream_readers * 1e6,
        "rss_bytes": rss / plan.stream_readers,
        "generator_ms": median(event.cpu_ms for event in told),
    }
