"""What happens: a good build, those who had bad luck once more, a bad build."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.markup import escape
from rich.table import Table
from twisted.internet.task import deferLater

from benchmarks.demo_fleet.admin import Admin
from benchmarks.demo_fleet.firmware import Maker
from benchmarks.demo_fleet.screen import Screen
from voicestatus.simulator.signs import Present, SignFleet

GOOD, BAD = 20, 21
LOOK_EVERY_S = 1.0
FIRST_STAGE = 20
PATIENCE_S = 900.0
OVER = ("finished", "halted", "aborted")
UNDER_WAY = ("offered", "fetching", "fetched", "rebooted")


@dataclass(frozen=True, slots=True)
class Bar:
    """Something that has to hold in the end."""

    what: str
    met: bool
    seen: str


class Story:
    """Plays it, and judges how it went."""

    def __init__(
        self, reactor: Any, admin: Admin, fleet: SignFleet, maker: Maker, screen: Screen
    ) -> None:
        self._reactor, self._admin, self._fleet = reactor, admin, fleet
        self._maker, self._screen = maker, screen
        self.bars: list[Bar] = []

    async def play(self) -> list[Bar]:
        """Play all of it; return what had to hold."""
        await self._gather()
        await self._introduce()
        await self._give_good()
        await self._give_bad()
        return self.bars

    # ---- the acts --------------------------------------------------------------------

    async def _gather(self) -> None:
        """Wait until all signs are there."""
        fleet, count = self._fleet, self._fleet.tally.count
        old = sum(each.legacy for each in fleet.roll_call)
        self._screen.open()

        def all_here() -> bool:
            tally = fleet.tally
            self._screen.progress("signs connected", tally.connected, count)
            return tally.connected == count and tally.enrolled == count - old

        await self._until(all_here, "not all signs were let in")
        self._screen.close()
        self._screen.say(f"{count} signs are connected, {old} of them of version 1")

    async def _introduce(self) -> None:
        """Have the old signs say what they are, one at a time."""
        strangers = await self._admin.strangers()
        self._screen.open()
        for done, stranger in enumerate(strangers):
            self._screen.progress("old signs probed", done, len(strangers))
            await self._admin.probe(stranger)
        self._screen.close()
        self._screen.say(
            f"{len(strangers)} old signs were probed and are known by their MAC"
        )
        await self._reachable()

    async def _give_good(self) -> None:
        fleet, build = self._fleet, GOOD
        fates = fleet.fates
        releases = await self._publish(build)
        told = await self._roll_out("good", releases)
        failed = await self._report(told["id"])
        self._expect(
            "the good build is rolled out to its end",
            told["status"] == "finished",
            told["status"],
        )
        self._expect(
            "whoever met with a mishap is named, and nobody else",
            failed.keys() == fates.keys(),
            f"{len(failed)} named of {len(fates)}",
        )
        back = [each.id for each in await self._reachable() if each.id in failed]
        if back:
            more = {"again": True, "target": {"ids": back}}
            again = await self._roll_out("again", releases, **more)
            await self._report(again["id"])
        reachable = await self._reachable()
        updated = sum(each.build == build for each in reachable)
        self._expect(
            "the good build reaches all signs that can be reached",
            updated == len(reachable),
            f"{updated} of {len(reachable)}",
        )

    async def _give_bad(self) -> None:
        before = self._fleet.tally
        told = await self._roll_out("bad", await self._publish(BAD))
        failed = await self._report(told["id"])
        tally = self._fleet.tally
        hurt = sum(
            getattr(tally, name) - getattr(before, name)
            for name in ("rolled_back", "never_back")
        )
        touched = told["stages"][0]["touched"]
        self._expect(
            "the bad build is halted in the first stage",
            told["status"] == "halted" and told["stage"] == 0,
            f"{told['status']} in stage {told['stage'] + 1}",
        )
        self._expect(
            "it has touched no more signs than that stage holds",
            0 < hurt <= touched <= FIRST_STAGE,
            f"{hurt} started it, {touched} were touched, {FIRST_STAGE} may be",
        )
        self._expect(
            "each of them is named", len(failed) == hurt, f"{len(failed)} of {hurt}"
        )

    # ---- what they are made of -------------------------------------------------------

    async def _publish(self, build: int) -> list[str]:
        made = self._maker.build(build)
        releases = [await self._admin.publish(built) for built in made]
        self._screen.say(f"published: {', '.join(releases)}")
        return releases

    async def _roll_out(
        self, name: str, releases: Sequence[str], **more: Any
    ) -> dict[str, Any]:
        """Roll it out; return how it stands when it is over."""
        plan = {
            "name": name,
            "releases": releases,
            "stages": [
                {"count": FIRST_STAGE, "successPercent": 70, "soakS": 3},
                {"percent": 10, "successPercent": 80, "soakS": 3},
                {"percent": 50, "successPercent": 80, "soakS": 3},
                {"percent": 100, "successPercent": 80, "soakS": 0},
            ],
            "haltAt": {"percent": 35},
            "ratePerMinute": 6000,
            "atOnce": 250,
            "limits": {"answerS": 60, "downloadS": 120, "backS": 30},
            # All signs are one process here: how fast it answers says nothing of them.
            "gate": {"stayS": 8, "rttMs": 30_000},
            "probe": True,
            **more,
        }
        id_ = await self._admin.start(plan)
        self._screen.say(f"rollout [b]{name}[/] begins")
        self._screen.open()
        deadline = self._reactor.seconds() + PATIENCE_S
        while True:
            told = await self._admin.rollout(id_)
            stage = f"stage {told['stage'] + 1} of {len(told['stages'])}"
            self._screen.rollout(
                told["status"], stage, told["counts"], self._fleet.tally
            )
            busy = sum(told["counts"].get(phase, 0) for phase in UNDER_WAY)
            if told["status"] in OVER and not busy:
                break
            if self._reactor.seconds() > deadline:
                raise TimeoutError(f"rollout {name} did not end")
            await deferLater(self._reactor, LOOK_EVERY_S)
        self._screen.close()
        self._screen.say(f"rollout [b]{name}[/] is {told['status']} {told['reason']}")
        return told

    async def _report(self, rollout: str) -> dict[str, str]:
        """Name each device that failed, and why; return that."""
        failed = await self._admin.failed_in(rollout)
        by_why: dict[str, list[str]] = defaultdict(list)
        for device, why in failed.items():
            by_why[why].append(device)
        if failed:
            table = Table("why", "how many", "who", title="failed")
            for why, devices in sorted(by_why.items()):
                table.add_row(escape(why), str(len(devices)), " ".join(sorted(devices)))
            self._screen.show(table)
        return failed

    async def _reachable(self) -> list[Present]:
        """Wait for all that can come back; return them."""

        def all_back() -> bool:
            tally = self._fleet.tally
            return tally.connected == tally.count - tally.never_back

        await self._until(all_back, "not all signs came back")
        return [each for each in self._fleet.roll_call if each.connected]

    def _expect(self, what: str, met: bool, seen: str) -> None:
        self.bars.append(Bar(what, met, seen))

    async def _until(self, holds: Callable[[], bool], otherwise: str) -> None:
        deadline = self._reactor.seconds() + PATIENCE_S
        while not holds():
            if self._reactor.seconds() > deadline:
                raise TimeoutError(otherwise)
            await deferLater(self._reactor, LOOK_EVERY_S)
