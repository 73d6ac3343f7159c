"""Every fault that the simulator knows, at random under load: the light comes right.

`make test` plays each once, in a seeded order; `pytest --soak` (`make soak`) all of it.
"""

import gc
import random
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import pytest_twisted

from voicestatus.simulator.service import SimulatedDiscord
from voicestatus.simulator.sessions import Rules

GUILD, BUSY = 1187000000000000001, 1187000000000000002
ADA = 4001
HEARTBEAT_S = 0.5
SPACING_S = 0.1

# How long Discord's own rules keep a link from being back; the light has 1 s more.
# Source: Gateway docs. Op 9 asks for a wait of 1 to 5 s, code 4008 for at least 5;
# two Identifies are 5 s apart; a zombie is known at the second heartbeat due.
DROP = {"kind": "drop"}
FORGET = {"kind": "forget_sessions"}
OP_9_S = IDENTIFY_S = 5.0
RESUMABLE: dict[str, tuple[list[dict[str, Any]], float]] = {
    "drop": ([DROP], 0),
    "close": ([{"kind": "close", "code": 4000}], 0),
    "rate limited": ([{"kind": "close", "code": 4008}], 5),
    "reconnect": ([{"kind": "reconnect"}], 0),
    "invalid session": ([{"kind": "invalid_session", "resumable": True}], OP_9_S),
    "zombie": ([{"kind": "zombie"}], 2 * HEARTBEAT_S),
    "stall": ([{"kind": "stall", "seconds": 0.3}], 0.3),
    "garbage": ([{"kind": "garbage", "count": 3}], 0),
    "slow hello": ([{"kind": "slow_hello", "seconds": 0.2}, DROP], 0.2),
}
GONE: dict[str, tuple[list[dict[str, Any]], float]] = {
    "invalid session, for good": ([{"kind": "invalid_session"}], OP_9_S),
    "session timed out": ([{"kind": "close", "code": 4009}], IDENTIFY_S),
    "forgotten": ([FORGET, DROP], OP_9_S),
    "forgotten, and REST is limited": (
        [{"kind": "rate_limit", "seconds": 0.2, "count": 2}, FORGET, DROP],
        OP_9_S + 0.4,
    ),
    "forgotten, and REST fails": (
        [{"kind": "http_error", "code": 502}, FORGET, DROP],
        OP_9_S + 2,
    ),
}
FAULTS = RESUMABLE | GONE


@pytest.fixture
def times(request: pytest.FixtureRequest) -> int:
    """How often each fault comes."""
    return 20 if request.config.getoption("--soak") else 1


@pytest.fixture
def script(times: int) -> list[str]:
    names = [name for name in FAULTS for _ in range(times)]
    random.Random(20).shuffle(names)
    return names


@pytest.fixture
def load(house: Any) -> Iterator[None]:
    """People in another guild who change something fifty times a second."""
    house.discord = SimulatedDiscord(
        house.reactor,
        guilds=[BUSY, GUILD],
        rules=Rules(heartbeat_interval_s=HEARTBEAT_S, identify_every_s=SPACING_S),
        people=20,
        rate_per_s=50,
        seed=5,
    )
    yield
    house.discord.people.stop()


def shows(sign: Any, light: str) -> bool:
    return bool(sign.light == light)


@pytest_twisted.ensureDeferred
async def test_after_every_fault_the_light_is_right_and_no_event_is_lost(
    house: Any, soon: Any, load: None, script: list[str]
):
    await house.start()
    await house.ready()
    fleet = house.fleet(100)
    sign = await house.sign(f"/ws?guild={GUILD}")
    await soon(lambda: sign.light == "0" and fleet.connected == 100)
    lounge = house.discord.world.guilds[GUILD].rooms[0]
    slowest: dict[str, float] = {}
    told = sign.heard[:]
    for name in script:
        faults, allowed_s = FAULTS[name]
        there = sign.light == "0"
        for fault in faults:
            house.discord.fault(**fault)
        house.discord.voice(GUILD, ADA, lounge if there else None)
        begun = house.reactor.seconds()
        right = "1" if there else "0"
        shown = partial(shows, sign, right)
        await soon(shown, name, allowed_s + 1)
        slowest[name] = max(slowest.get(name, 0), house.reactor.seconds() - begun)
        told.append(right)
        await house.ready()
    # Each change came once and in order: nothing lost, nothing doubled.
    assert sign.heard == told
    done = Counter(entry["kind"] for entry in house.discord.log())
    wanted = 1 + sum(name in GONE for name in script)
    assert done["identify"] <= wanted
    assert fleet.connected == 100
    assert fleet.tally.reconnects == 0
    await soon(lambda: len(set(fleet.lights)) == 1)
    print({name: round(took, 2) for name, took in slowest.items()})  # noqa: T201 - soak


@pytest_twisted.ensureDeferred
async def test_faults_leave_nothing_in_memory(
    house: Any, soon: Any, load: None, times: int
):
    await house.start()
    await house.ready()
    house.discord.people.stop()

    async def reconnect() -> None:
        resumed = len(house.discord.log())
        house.discord.fault("drop")
        await soon(
            lambda: any(e["kind"] == "resumed" for e in house.discord.log(resumed))
        )
        await house.ready()

    async def objects_after(rounds: int) -> int:
        for _ in range(rounds):
            await reconnect()
        gc.collect()
        return len(gc.get_objects())

    before = await objects_after(5)
    after = await objects_after(5 * times)
    # The simulator's log grows by a few entries a round; a connection kept alive
    # would be hundreds of objects.
    assert after - before < 100 * times
