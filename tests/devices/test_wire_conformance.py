"""The wire as bytes, over each way to a device; tests/fixtures holds the vectors."""

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from voicestatus.core.fleet import Enrolment
from voicestatus.core.lights import Light, RuleText
from voicestatus.devices.registry import Patch

FIXTURES = Path(__file__).parents[1] / "fixtures"
VECTORS = {"v1": "wire-device-v1.txt", "v2": "wire-device-v2.txt"}
LIGHTS = {
    "on": Light(known=True, on=True, count=1),
    "off": Light(known=True, on=False),
    "unknown": Light(known=False),
}
Step = tuple[str, str]


def cases(version: str) -> Iterator[tuple[str, list[Step]]]:
    """Read a file: the names of its cases and their steps."""
    name, steps = "", []
    for raw in (FIXTURES / VECTORS[version]).read_text("ascii").splitlines():
        verb, _, rest = raw.partition("#")[0].strip().partition(" ")
        if verb == "case":
            if name:
                yield name, steps
            name, steps = f"{version} {rest.strip()}", []
        elif verb == "+":
            steps[-1] = steps[-1][0], f"{steps[-1][1]} {rest}"
        elif verb:
            steps.append((verb, rest.strip()))
    yield name, steps


CASES = dict(chain.from_iterable(map(cases, VECTORS)))


@pytest.fixture
def enrolment(name) -> Enrolment:
    return Enrolment(dict(CASES[name]).get("enrolment", "open"))


def light_of(text: str) -> Light:
    """Return a light by its name, or that so many light."""
    if text in LIGHTS:
        return LIGHTS[text]
    return Light(known=True, on=True, count=int(text))


@pytest.fixture
def table(make_table):
    return make_table(public_url="http://sign.example:8080")


@pytest.fixture
def admin(table, offer) -> Callable[[str], object]:
    """Do what an admin does, in the words of the vectors."""

    def act(text: str) -> object:
        what, id_ = text.split()
        if id_ == "stranger":
            (id_,) = [each.id for each in table.devices() if not each.enrolled]
        match what:
            case "offer":
                return table.offer(id_, offer)
            case "probe":
                return table.probe(id_, "/ota/images/probe/nonce")
            case "identify":
                return table.command(id_, {"type": "identify", "seconds": 5})
            case "reboot":
                return table.command(id_, {"type": "reboot"})
            case "rotate":
                done = table.rotate(id_)
            case "forget":
                done = table.forget(id_)
            case _:
                patch = {
                    "approve": Patch(approved=True),
                    "revoke": Patch(revoked=True),
                    "rule": Patch(rule=RuleText('{"minCount":2}')),
                }[what]
                done = table.change(id_, patch)
        return Deferred.fromCoroutine(done)

    return act


class Play:
    """Plays a case: one method for each verb."""

    def __init__(self, line, upgrade, eventually, settled, clock) -> None:
        self._line, self._upgrade, self._clock = line, upgrade, clock
        self._eventually, self._settled = eventually, settled
        self._peer = None

    async def raw(self) -> None:
        self._peer = await self._line.dial()

    async def again(self) -> None:
        if self._peer is not None and not self._peer.lost:
            self._peer.transport.abortConnection()
            await self._settled()
        await self.raw()
        self._peer.write(self._upgrade())
        await self._eventually(lambda: self._peer.data.endswith(b"\r\n\r\n"))
        self._peer.data.clear()

    async def say(self, text: str) -> None:
        self._peer.write(bytes.fromhex(text))
        await self._settled()
        self._clock.advance(0)  # texts are read when there is time
        await self._settled()

    async def hear(self, text: str) -> None:
        wanted = bytes.fromhex(text)
        await self._eventually(lambda: len(self._peer.data) >= len(wanted))
        assert self._peer.take(len(wanted)) == wanted

    async def quiet(self) -> None:
        await self._settled()
        assert self._peer.data == b""
        assert not self._peer.lost

    async def closed(self) -> None:
        await self._eventually(lambda: self._peer.lost)
        assert self._peer.data == b""


@pytest.mark.parametrize("carrier", ["tcp", "tls", "unix"])
@pytest.mark.parametrize("name", CASES)
@pytest_twisted.ensureDeferred
async def test_the_server_answers_as_the_vectors_say(
    name, line, front, lights, pass_time, upgrade, eventually, settled, clock, admin
):
    play = Play(line, upgrade, eventually, settled, clock)
    acts = {
        ">": play.say,
        "<": play.hear,
        "raw": lambda _: play.raw(),
        "again": lambda _: play.again(),
        "quiet": lambda _: play.quiet(),
        "closed": lambda _: play.closed(),
        "light": lambda rest: lights.set(light_of(rest)),
        "wait": lambda rest: pass_time(float(rest)),
        "admin": admin,
        "enrolment": lambda _: None,
    }
    steps = CASES[name]
    async with line.serving(front):
        if ("raw", "") not in steps:
            await play.again()
        for verb, rest in steps:
            done = acts[verb](rest)
            if done is not None:
                await done
