"""Three processes and a real Redis, killed, stopped and cut off."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

LEASE_S = 2.0
NODE = Path(__file__).parent / "node.py"

pytestmark = pytest.mark.slow


class Process:
    """One node, and what it has said so far."""

    def __init__(self, name: str, port: int, folder: Path, discord: Path) -> None:
        self.name, self._out = name, folder / f"{name}.out"
        command = [sys.executable, NODE, str(port), name, str(LEASE_S), discord]
        with self._out.open("wb") as out, (folder / f"{name}.err").open("wb") as err:
            self.popen = subprocess.Popen(command, stdout=out, stderr=err)

    @property
    def said(self) -> list[dict[str, Any]]:
        # What is written half is not said yet.
        text = self._out.read_text()
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def last(self, *kinds: str) -> dict[str, Any] | None:
        found = [each for each in self.said if each["what"] in kinds]
        return found[-1] if found else None

    @property
    def holds(self) -> bool:
        last = self.last("begin", "end")
        return last is not None and last["what"] == "begin"

    @property
    def people(self) -> int | None:
        last = self.last("light")
        return None if last is None else last["people"]


class Cluster:
    def __init__(self, redis: Any, folder: Path) -> None:
        self._discord = folder / "discord"
        self._discord.touch()
        self.nodes = [Process(n, redis.port, folder, self._discord) for n in "abc"]

    def happens(self, what: str, user: int) -> None:
        with self._discord.open("a") as file:
            file.write(f"{what} {user}\n")

    @property
    def holder(self) -> Process | None:
        living = [node for node in self.nodes if node.popen.poll() is None]
        holding = [node for node in living if node.holds]
        assert len(holding) <= 2  # two, when one sleeps
        return holding[0] if holding else None

    def everybody_sees(self, people: int, *, but: Process | None = None) -> bool:
        nodes = [n for n in self.nodes if n is not but and n.popen.poll() is None]
        return all(node.people == people for node in nodes)

    def flickered(self, since: float) -> bool:
        """Whether a light that should stay on was off anywhere."""
        return any(
            each["what"] == "light" and each["people"] == 0 and each["t"] > since
            for node in self.nodes
            for each in node.said
        )

    def end(self) -> None:
        for node in self.nodes:
            if node.popen.poll() is None:
                node.popen.kill()
            node.popen.wait()


def until(holds: Callable[[], object], within_s: float = 15.0) -> float:
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < within_s, "it never came true"
        time.sleep(0.005)
    return time.monotonic() - began


@pytest.fixture
def cluster(own_redis: Any, tmp_path: Path) -> Iterator[Cluster]:
    own_redis.ask("SET", "voicestatus:born", "1000")
    cluster = Cluster(own_redis, tmp_path)
    until(lambda: cluster.holder and all(n.last("started") for n in cluster.nodes))
    cluster.happens("join", 1)
    until(lambda: cluster.everybody_sees(1))
    until(lambda: all(node.last("in step") for node in cluster.nodes))
    yield cluster
    cluster.end()
    for node in cluster.nodes:
        assert "Traceback" not in (tmp_path / f"{node.name}.err").read_text()


def test_a_killed_holders_shard_is_taken_over_and_no_event_is_lost(
    cluster: Cluster,
) -> None:
    first, began = cluster.holder, time.monotonic()
    assert first is not None
    cluster.happens("join", 2)
    first.popen.kill()
    first.popen.wait()
    cluster.happens("join", 3)
    took = until(lambda: cluster.holder not in {None, first})
    assert took < LEASE_S + 1
    until(lambda: cluster.everybody_sees(3), within_s=1)
    second = cluster.holder
    assert second is not None
    begin = second.last("begin")
    assert begin is not None
    assert begin["seq"] >= 1
    assert not cluster.flickered(began)


def test_a_holder_that_slept_past_its_lease_does_nothing_when_it_wakes(
    cluster: Cluster,
) -> None:
    first, began = cluster.holder, time.monotonic()
    assert first is not None
    first.popen.send_signal(signal.SIGSTOP)
    others = [node for node in cluster.nodes if node is not first]
    took = until(lambda: any(node.holds for node in others))
    assert took < LEASE_S + 1
    acted = len([each for each in first.said if each["what"] == "acts"])
    cluster.happens("join", 2)
    until(lambda: cluster.everybody_sees(2, but=first))
    first.popen.send_signal(signal.SIGCONT)
    until(lambda: cluster.everybody_sees(2))
    cluster.happens("join", 3)
    until(lambda: cluster.everybody_sees(3))
    assert not first.holds
    assert len([each for each in first.said if each["what"] == "acts"]) == acted
    assert not cluster.flickered(began)


def test_a_holder_that_is_told_to_stop_hands_over_within_a_second(
    cluster: Cluster,
) -> None:
    first, began = cluster.holder, time.monotonic()
    assert first is not None
    cluster.happens("join", 2)
    until(lambda: cluster.everybody_sees(2))
    first.popen.send_signal(signal.SIGTERM)
    others = [node for node in cluster.nodes if node is not first]
    took = until(lambda: any(node.holds for node in others))
    assert took < 1
    cluster.happens("join", 3)
    until(lambda: cluster.everybody_sees(3, but=first))
    assert not cluster.flickered(began)
    first.popen.wait(10)


def test_a_redis_that_is_killed_and_comes_back_empty_costs_no_event(
    cluster: Cluster, own_redis: Any
) -> None:
    first, began = cluster.holder, time.monotonic()
    assert first is not None
    own_redis.kill()
    cluster.happens("join", 2)
    own_redis.start()
    until(lambda: cluster.everybody_sees(2))
    cluster.happens("join", 3)
    until(lambda: cluster.everybody_sees(3))
    assert not cluster.flickered(began)
    fences = sorted(
        (each["fence"], node.name)
        for node in cluster.nodes
        for each in node.said
        if each["what"] == "begin"
    )
    assert len({fence for fence, _ in fences}) == len(fences)


def test_two_never_act_at_once_while_redis_comes_and_goes(
    cluster: Cluster, own_redis: Any
) -> None:
    for n, pause_s in enumerate((LEASE_S / 3, LEASE_S * 1.5)):
        own_redis.send(signal.SIGSTOP)
        time.sleep(pause_s)  # as long as the pause is
        cluster.happens("join", 2 + n)
        own_redis.send(signal.SIGCONT)
        until(lambda n=n: cluster.everybody_sees(2 + n))
    spans = []
    for node in cluster.nodes:
        began = None
        for each in node.said:
            if each["what"] == "begin":
                began = each["t"]
            elif each["what"] == "end":
                spans.append((began, each["t"]))
                began = None
        if began is not None:
            spans.append((began, time.monotonic()))
    spans.sort()
    assert len(spans) >= 2
    assert all(a[1] <= b[0] for a, b in pairwise(spans))
