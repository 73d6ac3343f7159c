"""The load generator and the servers that it is let loose on understand each other."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.build import HERE, compiled
from benchmarks.process import (
    SERVER_CORE,
    BenchmarkError,
    cpu_s,
    ports_of,
    rss_bytes,
    running,
)
from benchmarks.signs import TOKEN, signs

pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None, reason="there is no C compiler"
)

COUNT = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs")


@pytest.fixture(scope="module")
def generator(folder: Path) -> Path:
    return compiled("generator/signs.c", folder)


@pytest.fixture(scope="module")
def floor(folder: Path) -> Path:
    return compiled("peers/floor.c", folder)


@pytest.fixture(params=["floor", "ours"])
def server(request: pytest.FixtureRequest, floor: Path) -> Sequence[str | Path]:
    if request.param == "floor":
        return floor, TOKEN
    return sys.executable, "-m", "benchmarks.ours", TOKEN


def test_every_sign_is_let_in_and_sees_every_change(
    server: Sequence[str | Path], generator: Path
) -> None:
    with running(server, SERVER_CORE, cwd=HERE.parent) as process:
        port, control = ports_of(process)
        with signs(generator, COUNT, port, control) as fleet:
            assert fleet.open().open == COUNT
            flips = fleet.flip(3, 5)
            idle = fleet.idle(1)
    assert [flip.arrived for flip in flips] == [COUNT] * 3
    for flip in flips:
        assert 0 < flip.first_ms <= flip.p50_ms <= flip.p99_ms <= flip.last_ms
    assert idle.pings > 0
    assert idle.pongs >= idle.pings - 1  # the last may be on its way


def test_signs_that_are_not_let_in_spoil_the_measurement(
    floor: Path, generator: Path
) -> None:
    with running((floor, "another token"), SERVER_CORE) as process:
        port, control = ports_of(process)
        refused = pytest.raises(BenchmarkError, match=f"{COUNT} .* not let in")
        with signs(generator, COUNT, port, control) as fleet, refused:
            fleet.open()


def test_work_of_a_process_shows_in_its_figures(floor: Path, generator: Path) -> None:
    with running((floor, TOKEN), SERVER_CORE) as process:
        port, control = ports_of(process)
        before = cpu_s(process.pid)
        with signs(generator, COUNT, port, control) as fleet:
            fleet.open()
            assert cpu_s(process.pid) > before
        assert rss_bytes(process.pid) > 100_000
