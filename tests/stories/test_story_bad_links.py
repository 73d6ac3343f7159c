"""Signs that come and go, on links that fail: each that is reached is lit right."""

from typing import Any

import pytest_twisted

from voicestatus.simulator.signs import Habits, SignFleet

COUNT, LOSSY_PERCENT = 60, 20
GOOD = COUNT * (100 - LOSSY_PERCENT) // 100
PERSON = 42


@pytest_twisted.ensureDeferred
async def test_signs_that_come_and_go_are_never_told_nonsense(
    house: Any, soon: Any
) -> None:
    await house.start()
    await house.ready()
    fleet = SignFleet(
        house.reactor,
        "127.0.0.1",
        house.port,
        token="sesame",
        count=COUNT,
        habits=Habits(v2=True, churn_percent=1000, lossy_percent=LOSSY_PERCENT),
    )
    fleet.startService()
    try:
        await soon(lambda: fleet.tally.enrolled == COUNT)
        room = house.guild.rooms[0]
        for channel in (room, None, room, None, room):
            before = fleet.tally.reconnects
            await soon(lambda before=before: fleet.tally.reconnects > before + 5)
            house.discord.voice(house.guild.id, PERSON, channel)
            wanted = channel is not None
            await soon(lambda on=wanted: fleet.lights.count(on) >= GOOD)
    finally:
        await fleet.stopService()
    tally = fleet.tally
    assert (tally.wrong_lights, tally.errors, tally.complaints) == (0, 0, 0)
    assert tally.refused == 0
