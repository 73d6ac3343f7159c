"""The whole program: somebody moves in a simulated Discord, and signs change."""

from benchmarks.build import compiled
from benchmarks.figures import percentile
from benchmarks.plan import Plan
from benchmarks.program import place
from benchmarks.signs import signs

Measured = dict[str, float]


def measure(plan: Plan) -> Measured:
    """Measure one sign's wait for a change, then that of many."""
    generator = compiled("generator/signs.c")
    with place() as at, at.program():
        at.wait_until_ready()
        with signs(generator, 1, at.port, at.control) as one:
            one.open()
            one.flip(5, 20)  # whatever is done for the first time only
            waits = [f.last_ms for f in one.flip(plan.one_sign_changes, 20)]
        with signs(generator, plan.whole_count, at.port, at.control) as many:
            many.open()
            lasts = [f.last_ms for f in many.flip(plan.flips, plan.quiet_ms)]
    return {
        "one_p50_ms": percentile(waits, 0.50),
        "one_p99_ms": percentile(waits, 0.99),
        "many_last_ms": percentile(lasts, 0.50),
    }
