"""What is said of the store, on a real disk."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock

from voicestatus.core.errors import StoreError
from voicestatus.doctor import storage
from voicestatus.doctor.finding import Finding, Verdict
from voicestatus.store.documents import Store
from voicestatus.store.memory import MemoryStore
from voicestatus.store.sqlite_schema import STEPS


async def examine(url: str) -> list[Finding]:
    return await storage.examine(url, reactor)


@pytest_twisted.ensureDeferred
async def test_a_store_that_is_yet_to_be_made_is_tried_and_not_made(tmp_path: Path):
    findings = await examine(f"sqlite:{tmp_path}/v.db")
    assert [finding.verdict for finding in findings] == [Verdict.OK, Verdict.OK]
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - a Path is not for coroutines


@pytest_twisted.ensureDeferred
async def test_a_store_that_is_there_keeps_nothing_of_the_trial(tmp_path: Path):
    file = tmp_path / "v.db"
    url = f"sqlite:{file}"
    file.touch(0o600)
    for _ in range(2):
        findings = await examine(url)
        assert [finding.verdict for finding in findings] == [Verdict.OK, Verdict.OK]
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT count(*) FROM documents").fetchone() == (0,)
    connection.close()


@pytest_twisted.ensureDeferred
async def test_a_file_that_others_can_read_is_a_warning(tmp_path: Path):
    file = tmp_path / "v.db"
    file.touch()
    file.chmod(0o644)
    warned = (await examine(f"sqlite:{file}"))[1]
    assert warned.verdict is Verdict.WARNING
    assert warned.remedy == f"chmod 600 {file}"


@pytest_twisted.ensureDeferred
async def test_a_folder_that_is_not_there_is_a_failure(tmp_path: Path):
    (finding,) = await examine(f"sqlite:{tmp_path}/nowhere/v.db")
    assert finding.verdict is Verdict.FAILED
    assert f"Make the folder {tmp_path}/nowhere" in finding.remedy


@pytest_twisted.ensureDeferred
async def test_a_folder_that_is_a_file_is_a_failure():
    finding = (await examine(f"sqlite:{__file__}/v.db"))[0]
    assert finding.verdict is Verdict.FAILED


@pytest_twisted.ensureDeferred
async def test_a_file_that_cannot_even_be_looked_at_is_a_failure(tmp_path: Path):
    (finding,) = await examine(f"sqlite:{tmp_path}/{'x' * 300}")
    assert finding.verdict is Verdict.FAILED
    assert "cannot be looked at" in finding.found


@pytest_twisted.ensureDeferred
async def test_a_file_that_is_no_store_is_a_failure_and_stays_as_it_was(
    tmp_path: Path,
):
    file = tmp_path / "v.db"
    file.write_bytes(b"no database at all" * 100)
    file.chmod(0o600)
    finding = (await examine(f"sqlite:{file}"))[0]
    assert finding.verdict is Verdict.FAILED
    assert file.read_bytes() == b"no database at all" * 100


@pytest_twisted.ensureDeferred
async def test_an_older_file_is_left_as_it_is(tmp_path: Path):
    file = tmp_path / "v 1.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for statement in STEPS[0]:
            connection.execute(statement)
        connection.execute("PRAGMA user_version = 1")
    before = file.read_bytes()
    finding = (await examine(f"sqlite:{file}"))[0]
    assert finding.verdict is Verdict.WARNING
    assert "older voicestatus" in finding.found
    assert file.read_bytes() == before
    assert os.listdir(tmp_path) == [file.name]  # noqa: PTH208 - a Path is not for coroutines


@pytest_twisted.ensureDeferred
async def test_a_redis_that_is_away_is_a_failure_without_its_password():
    findings = await examine("redis://me:redis-secret@127.0.0.1:1/0")
    assert [finding.verdict for finding in findings] == [Verdict.FAILED]
    assert "redis-secret" not in repr(findings)


@pytest_twisted.ensureDeferred
async def test_a_store_in_memory_is_a_warning():
    (finding,) = await examine("memory:")
    assert finding.verdict is Verdict.WARNING


class Forgetful(MemoryStore):
    async def get(self, kind: str, id_: str) -> None:
        return None


class Broken(MemoryStore):
    async def get(self, kind: str, id_: str) -> None:
        raise StoreError("the disk is full; make room")


class Slow(MemoryStore):
    async def get(self, kind: str, id_: str) -> Any:
        return await Deferred()


class Hanging(Broken):
    def stopService(self) -> Deferred[None]:
        super().stopService()
        return fail(StoreError("storage did not answer within 10 s"))


@pytest.mark.parametrize(
    ("store", "why"),
    [
        (Forgetful(), "something else"),
        (Broken(), "make room"),
        (Hanging(), "make room"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_store_that_does_not_keep_what_it_takes_is_a_failure(
    store: Store, why: str
):
    finding = await storage.attempt("it", store, reactor)
    assert finding.verdict is Verdict.FAILED
    assert why in finding.found
    assert not store.running


def test_a_store_that_hangs_is_given_up_after_ten_seconds():
    clock, found = Clock(), []
    trial = storage.attempt("it", Slow(), clock)
    Deferred.fromCoroutine(trial).addBoth(found.append)
    clock.advance(9.9)
    assert found == []
    clock.advance(0.1)
    assert found[0].found == "it did not answer within 10 s"


@pytest.mark.parametrize(
    ("free_mb", "verdict"),
    [(200, Verdict.OK), (199, Verdict.WARNING), (19, Verdict.FAILED)],
)
def test_little_room_is_a_warning_and_none_a_failure(free_mb: int, verdict: Verdict):
    assert storage.judge_room(Path("/data"), free_mb).verdict is verdict


def test_room_on_the_disk_is_told(tmp_path: Path):
    assert "MB are free" in storage.disk(tmp_path).found


def test_settings_for_one_user_are_well_kept(tmp_path: Path):
    file = tmp_path / ".env"
    file.touch(0o600)
    assert storage.secrets_file(file) == []
    file.chmod(0o640)
    (finding,) = storage.secrets_file(file)
    assert finding.check == "settings"
