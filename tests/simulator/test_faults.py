"""Which request meets which fault; and what a bucket holds."""

import pytest

from voicestatus.simulator.buckets import LIMIT, Buckets
from voicestatus.simulator.faults import Faults


@pytest.mark.parametrize(
    ("route", "path", "meets"),
    [
        ("", "/api/v10/users/@me", True),
        ("/users/@me", "/api/v10/users/@me", True),
        ("/api/v10/users/@me", "/api/v10/users/@me", True),
        ("GET /users/@me", "/api/v10/users/@me", True),
        ("users", "/api/v10/users/@me", True),
        ("/users/@me/guilds", "/api/v10/users/@me", False),
        ("/guilds/*/channels", "/api/v10/guilds/5/channels", True),
        ("/guilds/:id/channels", "/api/v10/guilds/5/channels", True),
        ("/guilds/{guild}/channels", "/api/v10/guilds/5/channels", True),
        ("/guilds/*/channels", "/api/v10/guilds/5/roles", False),
        ("/gateway/bot", "/api/v10/gateway", False),
    ],
)
def test_a_route_meets_the_paths_that_begin_like_it(
    route: str, path: str, meets: bool
) -> None:
    faults = Faults()
    faults.add_rest(route, 500, 1)
    assert (faults.take_rest(path) is not None) is meets


def test_a_fault_is_used_up_and_the_next_one_follows() -> None:
    faults = Faults()
    faults.add_rest("", 500, 2)
    faults.add_rest("", 403, 1)
    taken = [faults.take_rest("/api/v10/gateway") for _ in range(4)]
    assert [fault.status if fault else None for fault in taken] == [500, 500, 403, None]


def test_slow_hellos_are_counted() -> None:
    faults = Faults()
    faults.add_slow_hellos(2, 0.5)
    assert [faults.take_hello_delay_s() for _ in range(3)] == [0.5, 0.5, 0.0]


def test_a_bucket_holds_so_many_calls_a_second_for_each_major_id() -> None:
    buckets = Buckets()
    grants = [buckets.take("GET /guilds/:id", "1", 10.0) for _ in range(LIMIT + 1)]
    assert [grant.allowed for grant in grants] == [True] * LIMIT + [False]
    assert grants[0].remaining == LIMIT - 1
    other = buckets.take("GET /guilds/:id", "2", 10.0)
    assert other.allowed
    assert other.bucket == grants[0].bucket
    again = buckets.take("GET /guilds/:id", "1", 11.0)
    assert (again.allowed, again.remaining) == (True, LIMIT - 1)
    assert buckets.take("GET /guilds/:id", "1", 11.25).reset_after_s == 0.75
