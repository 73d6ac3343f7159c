"""Processes under measurement: their core, their CPU time and their memory."""

import os
import re
import select
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

SERVER_CORE, GENERATOR_CORE = (sorted(os.sched_getaffinity(0)) * 2)[:2]
"""The same one twice where there is no second."""

_READY_WITHIN_S = 20.0
_LEAVE_WITHIN_S = 5.0


class BenchmarkError(Exception):
    """A measurement that cannot be taken, with its reason."""


@contextmanager
def running(
    command: Sequence[str | Path],
    core: int,
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int | IO[str] = subprocess.PIPE,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """Run a process and all its threads on one core; it ends with the block."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})  # children inherit it, from their first thread on
    try:
        process = subprocess.Popen(
            list(map(str, command)),
            stdin=stdin,
            stdout=stdout,
            env=None if env is None else os.environ | dict(env),
            cwd=cwd,
            text=True,
        )
    finally:
        os.sched_setaffinity(0, allowed)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_LEAVE_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def ports_of(process: subprocess.Popen[str]) -> tuple[int, int]:
    """Read the line that each server says first: its port, and that of its control.

    :raises BenchmarkError: when none comes.
    """
    assert process.stdout is not None
    if select.select([process.stdout], [], [], _READY_WITHIN_S)[0]:
        line = process.stdout.readline().split()
        if len(line) == 2:
            return int(line[0]), int(line[1])
    raise BenchmarkError(f"{process.args!r} did not start")


def cpu_s(pid: int) -> float:
    """Return the CPU time of all threads of a process, to the nanosecond."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((t / "schedstat").read_text().split()[0]) for t in tasks) / 1e9


def rss_bytes(pid: int) -> int:
    """Return the resident memory of a process, counted page by page."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    found = re.search(r"^Rss:\s+(\d+) kB$", rollup, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024
