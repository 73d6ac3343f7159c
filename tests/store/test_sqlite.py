"""What only a file has: it outlives a crash, and it can be locked, full or broken."""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred, gatherResults

from voicestatus.core.errors import StoreError
from voicestatus.store.documents import VersionConflict
from voicestatus.store.sqlite import SCHEMA_VERSION, explain


@pytest_twisted.ensureDeferred
async def test_documents_are_there_when_the_file_is_opened_again(start_sqlite, path):
    first = start_sqlite(path)
    version = await first.put("sign", "a", b"one", parent="home")
    await first.stopService()
    document = await start_sqlite(path).get("sign", "a")
    assert (document.version, document.parent, document.body) == (
        version,
        "home",
        b"one",
    )


@pytest_twisted.ensureDeferred
async def test_stopping_finishes_the_calls_that_wait_and_leaves_one_file(
    start_sqlite, path
):
    store = start_sqlite(path)
    puts = [
        Deferred.fromCoroutine(store.put("sign", str(number), b""))
        for number in range(100)
    ]
    await store.stopService()
    await gatherResults(puts)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_an_awaited_put_survives_the_death_of_the_process(path: Path):
    program = """
        import os, signal, sys
        from pathlib import Path
        from twisted.internet import reactor
        from twisted.internet.defer import Deferred
        from voicestatus.store.sqlite import SqliteStore

        async def main():
            store = SqliteStore(Path(sys.argv[1]), reactor)
            store.startService()
            await store.put("gateway-shard", "0", b"identified")
            os.kill(os.getpid(), signal.SIGKILL)

        reactor.callWhenRunning(lambda: Deferred.fromCoroutine(main()))
        reactor.run()
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(path)]
    died = subprocess.run(command, timeout=60, check=False)
    assert died.returncode == -signal.SIGKILL
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT kind, id, body FROM documents").fetchall()
    assert rows == [("gateway-shard", "0", b"identified")]


@pytest_twisted.ensureDeferred
async def test_only_the_owner_may_read_the_file(start_sqlite, path):
    store = start_sqlite(path)
    await store.put("sign", "a", b"")
    files = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert files.keys() >= {"voicestatus.db", "voicestatus.db-wal"}
    assert set(files.values()) == {0o600}


@pytest_twisted.ensureDeferred
async def test_a_locked_file_is_a_clear_error_soon_and_works_when_free(
    start_sqlite, path
):
    store = start_sqlite(path)
    await store.put("sign", "a", b"one")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match=r"voicestatus\.db is held by another"):
            await store.put("sign", "a", b"two")
    await store.put("sign", "a", b"three")
    document = await store.get("sign", "a")
    assert document.body == b"three"


@pytest_twisted.ensureDeferred
async def test_the_reactor_turns_while_a_call_waits_for_the_file(start_sqlite, path):
    from twisted.internet import reactor, task

    store = start_sqlite(path, busy_limit_s=0.3)
    await store.put("sign", "a", b"one")
    turns: list[int] = []
    loop = task.LoopingCall(lambda: turns.append(1))
    loop.clock = reactor
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        stopped = loop.start(0.01)
        with pytest.raises(StoreError):
            await store.put("sign", "a", b"two")
        loop.stop()
        await stopped
    assert len(turns) > 5


@contextmanager
def as_nobody() -> Iterator[None]:
    """Give up root's right to write everything, for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody can reach: pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.parametrize("folder_mode", [0o777, 0o555])
@pytest_twisted.ensureDeferred
async def test_a_read_only_file_is_a_clear_error(
    start_sqlite, open_folder, folder_mode
):
    path = open_folder / "voicestatus.db"
    first = start_sqlite(path)
    await first.put("sign", "a", b"one")
    await first.stopService()
    path.chmod(0o444)
    open_folder.chmod(folder_mode)
    with as_nobody():
        store = start_sqlite(path)
        with pytest.raises(StoreError, match=r"voicestatus\.db is read-only; let this"):
            await store.put("sign", "a", b"two")
        await store.stopService()
    open_folder.chmod(0o755)


@pytest_twisted.ensureDeferred
async def test_a_folder_where_nothing_may_be_written_is_a_clear_error(
    start_sqlite, open_folder
):
    open_folder.chmod(0o555)
    with as_nobody():
        store = start_sqlite(open_folder / "voicestatus.db")
        with pytest.raises(StoreError, match="must be allowed to write there"):
            await store.get("sign", "a")
        await store.stopService()
    open_folder.chmod(0o755)


@pytest_twisted.ensureDeferred
async def test_a_folder_in_the_files_place_is_a_clear_error(start_sqlite, path):
    path.mkdir()
    with pytest.raises(StoreError, match=r"voicestatus\.db cannot be opened"):
        await start_sqlite(path).get("sign", "a")


@pytest_twisted.ensureDeferred
async def test_a_missing_folder_is_a_clear_error_until_it_is_there(
    start_sqlite, tmp_path
):
    store = start_sqlite(tmp_path / "data" / "voicestatus.db")
    with pytest.raises(StoreError, match="the folder must exist"):
        await store.put("sign", "a", b"one")
    (tmp_path / "data").mkdir()
    assert await store.put("sign", "a", b"one") == 1


@pytest_twisted.ensureDeferred
async def test_what_is_wrong_is_told_until_a_call_is_answered(start_sqlite, tmp_path):
    store = start_sqlite(tmp_path / "data" / "voicestatus.db")
    with pytest.raises(StoreError):
        await store.put("sign", "a", b"one")
    given_up = Deferred.fromCoroutine(store.get("sign", "a"))
    given_up.cancel()
    with pytest.raises(CancelledError):
        await given_up
    assert store.problem is not None
    assert "the folder must exist" in store.problem
    (tmp_path / "data").mkdir()
    await store.put("sign", "a", b"one", expected=None)
    assert store.problem is None


@pytest_twisted.ensureDeferred
async def test_a_file_that_is_no_database_is_named_and_left_as_it_is(
    start_sqlite, path
):
    path.write_bytes(b"a letter to a friend " * 400)
    store = start_sqlite(path)
    with pytest.raises(StoreError, match=r"voicestatus\.db is damaged.* backup"):
        await store.get("sign", "a")
    assert path.read_bytes() == b"a letter to a friend " * 400


@pytest_twisted.ensureDeferred
async def test_a_page_that_was_overwritten_is_an_error_that_says_what_to_do(
    start_sqlite, path
):
    store = start_sqlite(path)
    for number in range(200):
        await store.put("sign", str(number), b"x" * 200)
    await store.stopService()
    pages = path.read_bytes()
    path.write_bytes(pages[:4096] + b"\xff" * (len(pages) - 4096))
    store = start_sqlite(path)
    with pytest.raises(StoreError, match=r"voicestatus\.db is damaged.* backup"):
        await store.list("sign")


@pytest_twisted.ensureDeferred
async def test_another_programs_database_is_refused_and_not_touched(start_sqlite, path):
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE recipes (name)")
    with pytest.raises(StoreError, match="another program's database"):
        await start_sqlite(path).put("sign", "a", b"")
    with closing(sqlite3.connect(path)) as other:
        tables = other.execute("SELECT name FROM sqlite_master").fetchall()
    assert tables == [("recipes",)]


@pytest_twisted.ensureDeferred
async def test_a_file_of_a_newer_version_is_refused(start_sqlite, path):
    first = start_sqlite(path)
    await first.put("sign", "a", b"")
    await first.stopService()
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        other.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(StoreError, match="newer voicestatus"):
        await start_sqlite(path).get("sign", "a")


def test_a_full_disk_is_told_as_such(path: Path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.execute("PRAGMA max_page_count = 3")
        with pytest.raises(sqlite3.OperationalError) as full:
            connection.execute("INSERT INTO t VALUES (zeroblob(100000))")
    assert "the disk is full" in str(explain(path, full.value))
    assert str(path) in str(explain(path, full.value))


@pytest_twisted.ensureDeferred
async def test_a_conflict_does_not_close_the_file(start_sqlite, path):
    store = start_sqlite(path)
    await store.put("sign", "a", b"")
    before = store._connection
    with pytest.raises(VersionConflict):
        await store.put("sign", "a", b"", expected=None)
    assert store._connection is before


@pytest_twisted.ensureDeferred
async def test_what_was_deleted_leaves_no_trace_in_the_file(start_sqlite, path):
    store = start_sqlite(path)
    await store.put("voice", "1", b"was in the lounge")
    await store.delete("voice", "1")
    await store.stopService()
    assert b"lounge" not in path.read_bytes()
