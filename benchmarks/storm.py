"""All signs come back at once, after the server was killed."""

import time
from socket import create_connection

from benchmarks.crowd import crowd
from benchmarks.plan import Plan
from benchmarks.process import cpu_s, rss_bytes
from benchmarks.program import place

Measured = dict[str, float]


def measure(plan: Plan) -> Measured:
    """Let signs enrol; kill the server, change the light, and start it again."""
    count = plan.storm_count
    with place() as at, crowd(count, at.port) as signs:
        with at.program() as server:
            at.wait_until_ready()
            time.sleep(plan.settle_s)
            rss, cpu, began = rss_bytes(server.pid), cpu_s(server.pid), time.monotonic()
            signs.come()
            signs.wait_until_lit(False)
            signs.wait_until_enrolled()
            enrolled_s = time.monotonic() - began
            cpu = cpu_s(server.pid) - cpu
            time.sleep(plan.settle_s)
            rss = rss_bytes(server.pid) - rss
            server.kill()
            server.wait()
        signs.wait_until_lost()
        with create_connection(("127.0.0.1", at.control)) as control:
            control.sendall(b"1")
        back = time.monotonic()
        with at.program() as server:
            lit = signs.wait_until_lit(True)
            storm_cpu = cpu_s(server.pid)
    return {
        "enrol_s": enrolled_s,
        "enrol_cpu_us": cpu / count * 1e6,
        "rss_bytes": rss / count,
        "first_s": lit.first_at - back,
        "connected_s": lit.connected_at - back,
        "right_s": lit.right_at - back,
        "longest_pong_ms": lit.longest_pong_ms,
        "cpu_s": storm_cpu,
    }
