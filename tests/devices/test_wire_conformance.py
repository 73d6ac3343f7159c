"""The wire as bytes, over each way to a device; tests/fixtures holds the vectors."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted

from voicestatus.core.lights import Light

VECTORS = Path(__file__).parents[1] / "fixtures" / "wire-device-v1.txt"
LIGHTS = {
    "on": Light(known=True, on=True, count=1),
    "off": Light(known=True, on=False),
    "unknown": Light(known=False),
}
Step = tuple[str, str]


def cases() -> Iterator[tuple[str, list[Step]]]:
    """Read the file: a name and its steps."""
    name, steps = "", []
    for raw in VECTORS.read_text("ascii").splitlines():
        verb, _, rest = raw.partition("#")[0].strip().partition(" ")
        if verb == "case":
            if name:
                yield name, steps
            name, steps = rest.strip(), []
        elif verb == "+":
            steps[-1] = steps[-1][0], f"{steps[-1][1]} {rest}"
        elif verb:
            steps.append((verb, rest.strip()))
    yield name, steps


CASES = dict(cases())


@pytest.mark.parametrize("carrier", ["tcp", "tls", "unix"])
@pytest.mark.parametrize("name", CASES)
@pytest_twisted.ensureDeferred
async def test_the_server_answers_as_the_vectors_say(
    name, line, front, lights, pass_time, upgrade, eventually, settled
):
    steps = CASES[name]
    async with line.serving(front):
        peer = await line.dial()
        if ("raw", "") not in steps:
            peer.write(upgrade())
            await eventually(lambda: peer.data.endswith(b"\r\n\r\n"))
            peer.data = b""
        for verb, rest in steps:
            match verb:
                case ">":
                    peer.write(bytes.fromhex(rest))
                    await settled()
                case "<":
                    wanted = bytes.fromhex(rest)
                    await eventually(lambda least=wanted: len(peer.data) >= len(least))
                    assert peer.take(len(wanted)) == wanted
                case "light":
                    lights.set(LIGHTS[rest])
                case "wait":
                    pass_time(float(rest))
                case "quiet":
                    await settled()
                    assert peer.data == b""
                    assert not peer.lost
                case "closed":
                    await eventually(lambda: peer.lost)
                    assert peer.data == b""
                case _:
                    assert verb == "raw", f"{name}: unknown verb"
