"""`voicestatus backup` and `restore`, as their user types them."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent


@pytest.fixture
def run(tmp_path: Path):
    """Run a command in a folder of its own; return status, output, errors."""

    def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
        clean = {name: os.environ[name] for name in ("PATH", "HOME")}
        ended = subprocess.run(
            [BIN / "voicestatus", *arguments],
            cwd=tmp_path,
            env=clean | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return ended.returncode, ended.stdout, ended.stderr

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The backup that docs/storage.md shows."""
    page = (Path(__file__).parents[2] / "docs/storage.md").read_text()
    example = page.partition("```json\n")[2].partition("```")[0]
    file = tmp_path / "backup.jsonl"
    file.write_text(example)
    return file


def documents(path: Path) -> list[tuple[str, str, int, bytes]]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT kind, id, version, body FROM documents")
        return rows.fetchall()


def test_a_backup_goes_into_a_new_store_and_comes_out_the_same(run, file, tmp_path):
    url = "sqlite:new.db"
    status, output, errors = run("restore", str(file), STORAGE_URL=url)
    assert (status, errors) == (0, "")
    assert output == "restored 1 documents and 1 blobs\n"
    assert documents(tmp_path / "new.db") == [("sign", "a", 7, b"{}")]
    status, output, errors = run("backup", "again.jsonl", STORAGE_URL=url)
    assert (status, errors) == (0, "")
    assert output == "again.jsonl: 1 documents and 1 blobs\n"
    again = tmp_path / "again.jsonl"
    first, *rest, _ = map(json.loads, again.read_text().splitlines())
    shown, *as_shown, _ = map(json.loads, file.read_text().splitlines())
    assert rest == as_shown
    assert first | {"version": 0} == shown | {"version": 0}
    assert again.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "again.jsonl.part").exists()


def test_what_is_no_file_is_not_replaced_and_a_link_stays_one(run, file, tmp_path):
    url = "sqlite:new.db"
    assert run("restore", str(file), STORAGE_URL=url)[0] == 0
    os.mkfifo(tmp_path / "pipe")
    status, _, errors = run("backup", "pipe", STORAGE_URL=url)
    assert (status, (tmp_path / "pipe").is_fifo()) == (1, True)
    assert "pipe is no file" in errors
    (tmp_path / "folder").mkdir()
    (tmp_path / "latest").symlink_to("folder/today")
    assert run("backup", "latest", STORAGE_URL=url)[0] == 0
    assert (tmp_path / "latest").is_symlink()
    assert (tmp_path / "folder" / "today").is_file()


def test_the_store_is_the_one_of_the_env_file_or_of_the_option(run, file, tmp_path):
    (tmp_path / ".env").write_text("STORAGE_URL=sqlite:from-env.db\n")
    assert run("restore", str(file))[0] == 0
    (tmp_path / "other").write_text("STORAGE_URL=sqlite:from-other.db\n")
    assert run("restore", str(file), "--env-file", "other")[0] == 0
    assert run("restore", str(file), "--storage", "sqlite:from-option.db")[0] == 0
    stores = {path.name for path in tmp_path.glob("from-*.db")}
    assert stores == {"from-env.db", "from-other.db", "from-option.db"}


def test_a_store_that_holds_something_is_replaced_by_force_only(run, file, tmp_path):
    url = "sqlite:new.db"
    run("restore", str(file), STORAGE_URL=url)
    with closing(sqlite3.connect(tmp_path / "new.db")) as connection:
        connection.execute("INSERT INTO documents VALUES ('sign', 'b', '', 8, x'00')")
        connection.commit()
    status, _, errors = run("restore", str(file), STORAGE_URL=url)
    assert status == 1
    assert "not empty; nothing was changed; --force replaces" in errors
    assert len(documents(tmp_path / "new.db")) == 2
    assert run("restore", str(file), "--force", STORAGE_URL=url)[0] == 0
    assert len(documents(tmp_path / "new.db")) == 1


def test_a_file_that_was_cut_off_changes_nothing(run, file, tmp_path):
    file.write_text(file.read_text()[:-20])
    status, _, errors = run("restore", str(file), "--force", STORAGE_URL="sqlite:n.db")
    assert status == 1
    assert "backup.jsonl: the file was cut off" in errors
    assert not (tmp_path / "n.db").exists()


def test_a_failed_backup_leaves_the_last_one(run, tmp_path):
    last = tmp_path / "last.jsonl"
    last.write_text("the last one")
    (tmp_path / "broken.db").write_text("a letter to a friend " * 400)
    for url in ("sqlite:broken.db", "sqlite:none.db", "redis://127.0.0.1:1", "memory:"):
        status, output, errors = run("backup", "last.jsonl", STORAGE_URL=url)
        assert (status, output) == (1, "")
        assert errors.startswith("Error: ")
        assert len(errors.splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"last.jsonl", "broken.db"}
    assert last.read_text() == "the last one"


def test_a_wrong_address_is_wrong_use_and_not_repeated(run, file):
    url = "redis://me:Hunter2/x@db:port"
    status, output, errors = run("restore", str(file), "--storage", url)
    assert status == 2
    assert "Hunter2" not in output + errors
    status, output, errors = run("restore", str(file), STORAGE_URL=url)
    assert status == 1
    assert "STORAGE_URL should hold" in errors
    assert "Hunter2" not in output + errors
    assert run("restore", "none.jsonl")[0] == 2
