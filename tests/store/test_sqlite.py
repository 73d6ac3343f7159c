"""What only a file has: it outlives a crash, and it can be locked, full or broken."""

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import Clock

from voicestatus.core.errors import StoreError
from voicestatus.store.documents import Document, Fence, Put, VersionConflict
from voicestatus.store.sqlite import TIDY_AFTER_S, SqliteStore, explain
from voicestatus.store.sqlite_schema import SCHEMA_VERSION


class ReactorWithClock:
    """The real reactor between threads; its time is the test's."""

    def __init__(self, clock: Clock) -> None:
        from twisted.internet import reactor

        self.callFromThread = reactor.callFromThread
        self.callLater = clock.callLater


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


@pytest_twisted.ensureDeferred
async def test_what_was_deleted_soon_leaves_no_trace_beside_the_file(path):
    clock = Clock()
    store = SqliteStore(path, ReactorWithClock(clock), busy_limit_s=60)
    store.startService()
    log = path.with_name(f"{path.name}-wal")
    await store.put("voice", "1", b"was in the lounge")
    await store.delete("voice", "1")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM documents").fetchall()
        clock.advance(TIDY_AFTER_S)
        began = time.monotonic()
        assert await store.get("voice", "1") is None
        assert time.monotonic() - began < 30  # it did not wait for who reads
    assert b"lounge" in log.read_bytes()
    await store.put("voice", "2", b"")
    clock.advance(TIDY_AFTER_S)
    await store.get("voice", "1")
    assert b"lounge" not in log.read_bytes() + path.read_bytes()
    assert store.problem is None
    await store.put("voice", "3", b"")
    await store.stopService()
    assert not clock.getDelayedCalls()


@pytest_twisted.ensureDeferred
async def test_what_is_synced_is_in_the_file_itself(path):
    store = SqliteStore(path, ReactorWithClock(Clock()))
    store.startService()
    await store.put("device", "1", b"the lamp in the hall")
    assert b"hall" not in path.read_bytes()
    await store.sync()
    assert b"hall" in path.read_bytes()
    await store.stopService()


@contextmanager
def files_no_larger_than(size_bytes: int) -> Iterator[None]:
    """As on a full disk; Python ignores SIGXFSZ, so that a write fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest_twisted.ensureDeferred
async def test_a_disk_without_room_loses_nothing_and_is_well_when_it_has_some(
    start_sqlite, path, eventually
):
    store = start_sqlite(path)
    version = await store.put("sign", "a", b"one")
    with files_no_larger_than(200_000):
        with pytest.raises(StoreError, match="disk"):
            await store.put("sign", "b", b"x" * 400_000)
        document = await store.get("sign", "a")
        assert (document.version, document.body) == (version, b"one")
        assert "disk" in store.problem  # a read that works does not mend a write
    await eventually(lambda: store.problem is None)
    await store.put("sign", "b", b"x" * 400_000)
    assert len(await store.list("sign")) == 2


@pytest_twisted.ensureDeferred
async def test_a_problem_goes_away_by_itself_though_nobody_calls(
    start_sqlite, tmp_path, eventually
):
    store = start_sqlite(tmp_path / "data" / "voicestatus.db")
    await eventually(lambda: store.problem is not None)
    (tmp_path / "data").mkdir()
    await eventually(lambda: store.problem is None)


@pytest_twisted.ensureDeferred
async def test_an_upload_that_nobody_touches_is_forgotten(start_sqlite, path):
    store = start_sqlite(path)
    old, young = store.upload("image", "old"), store.upload("image", "young")
    await old.append(b"x" * 100_000)
    await young.append(b"x" * 100_000)
    number = (await old.settle()).content
    with closing(sqlite3.connect(path)) as other:
        other.execute(
            "UPDATE uploads SET touched_at = touched_at - 4000 WHERE content = ?",
            (number,),
        )
        other.commit()
    await store.upload("image", "next").finish()
    with closing(sqlite3.connect(path)) as other:
        held = other.execute("SELECT DISTINCT content FROM chunks").fetchall()
    assert (number,) not in held
    with pytest.raises(StoreError, match="given up"):
        await old.finish()
    await young.finish()


FIRST_SCHEMA = """
    CREATE TABLE documents (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        parent TEXT NOT NULL,
        version INTEGER NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (kind, id)
    ) WITHOUT ROWID;
    CREATE INDEX documents_by_parent ON documents (kind, parent, id);
    CREATE TABLE counter (version INTEGER NOT NULL);
    INSERT INTO counter VALUES (41);
    INSERT INTO documents VALUES ('sign', 'a', 'home', 41, x'6f6e65');
    PRAGMA user_version = 1;
    PRAGMA journal_mode = WAL;
"""
"""The file of version 0.1; never change it."""


@pytest.fixture
def first_file(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(FIRST_SCHEMA)
    return path


@pytest_twisted.ensureDeferred
async def test_a_file_of_the_first_schema_becomes_one_of_today(
    start_sqlite, first_file
):
    store = start_sqlite(first_file)
    assert await store.list("sign", "home") == (
        Document("sign", "a", "home", 41, b"one"),
    )
    assert await store.put("sign", "b", b"two") == 42
    await store.write(fence=Fence(0, 1))
    await store.upload("image", "a").finish()
    await store.stopService()
    with closing(sqlite3.connect(first_file)) as connection:
        version = connection.execute("PRAGMA user_version").fetchone()
    assert version == (SCHEMA_VERSION,)


@pytest_twisted.ensureDeferred
async def test_a_copy_of_the_file_is_made_before_it_is_migrated(
    start_sqlite, first_file
):
    store = start_sqlite(first_file)
    await store.put("sign", "b", b"two")
    copy = first_file.with_name(f"voicestatus.db.before-{SCHEMA_VERSION}")
    assert copy.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        rows = connection.execute("SELECT id, version FROM documents").fetchall()
    assert rows == [("a", 41)]
    copy.unlink()
    await store.stopService()
    await start_sqlite(first_file).get("sign", "a")
    assert not copy.exists()


@pytest_twisted.ensureDeferred
async def test_a_file_that_cannot_be_copied_is_not_migrated(
    start_sqlite, first_file, eventually
):
    with files_no_larger_than(8192):
        store = start_sqlite(first_file)
        with pytest.raises(StoreError, match="disk"):
            await store.get("sign", "a")
    with closing(sqlite3.connect(first_file)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert not [*first_file.parent.glob("*.before-*")]
    await eventually(lambda: store.problem is None)
    assert (await store.get("sign", "a")).body == b"one"


@pytest_twisted.ensureDeferred
async def test_a_step_that_fails_half_way_leaves_the_file_as_it_was(
    start_sqlite, first_file
):
    with closing(sqlite3.connect(first_file)) as connection:
        connection.execute("CREATE TABLE uploads (mine)")  # the last of step 2
        connection.commit()
    with pytest.raises(StoreError, match="already exists"):
        await start_sqlite(first_file).get("sign", "a")
    with closing(sqlite3.connect(first_file)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        names = connection.execute("SELECT name FROM sqlite_master").fetchall()
    assert ("fences",) not in names


@pytest_twisted.ensureDeferred
async def test_a_picture_is_taken_while_another_process_writes(start_sqlite, path):
    writer, reader = start_sqlite(path), start_sqlite(path)
    await writer.put("sign", "a", b"one")
    pictures = [Deferred.fromCoroutine(reader.picture()) for _ in range(20)]
    puts = [
        Deferred.fromCoroutine(writer.write(Put("x", "1", body), Put("y", "1", body)))
        for body in (b"%d" % number for number in range(100))
    ]
    await gatherResults(puts)
    for picture in await gatherResults(pictures):
        bodies = {d.body for d in picture.documents if d.kind in {"x", "y"}}
        assert len(bodies) <= 1
        assert picture.version == max(d.version for d in picture.documents)
