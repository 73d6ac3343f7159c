"""Pure files stay pure, and nobody but the entries takes the global reactor.

The arrows between modules are import-linter's (pyproject.toml).
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "voicestatus"
FILES = sorted(PACKAGE.rglob("*.py"))
PURE_NAMES = {
    "wire.py", "session.py", "rtp.py", "ratelimit.py", "compression.py",
    "redaction.py", "lines.py",
}  # fmt: skip
# A list of what is allowed: what nobody thought of is refused, not let through.
ALLOWED = {
    "__future__", "abc", "base64", "binascii", "bisect", "collections", "contextlib",
    "cryptography", "dataclasses", "enum", "fractions", "functools", "hashlib", "heapq",
    "hmac", "html", "http", "ipaddress", "itertools", "json", "math", "msgspec",
    "operator", "re", "statistics", "string", "struct", "types", "typing",
    "unicodedata", "urllib", "zlib", "zoneinfo", "zstandard",
    # Dates are values; asking for today's is caught by name below. So are keys.
    "datetime",
}  # fmt: skip
IMPURE = {"http.client", "http.server", "urllib.request"}
CALLS = {
    "open", "print", "input", "exec", "eval", "__import__", "now", "utcnow", "today",
    "generate",
}  # fmt: skip


def imported(tree: ast.AST) -> Iterator[str]:
    """Name every module that is imported anywhere, and what is taken from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names)


def is_pure(name: str) -> bool:
    package = name.partition(".")[0]
    if any(name == impure or name.startswith(impure + ".") for impure in IMPURE):
        return False
    return package in ALLOWED or package == "voicestatus"  # followed by `reached`


def impurities(source: str) -> list[str]:
    tree = ast.parse(source)
    found = [f"imports {name}" for name in imported(tree) if not is_pure(name)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in CALLS:
                found.append(f"line {node.lineno} calls {called}")
    return found


def takes_the_reactor(source: str) -> bool:
    return any(
        name == "twisted.internet.reactor"
        or name.startswith("twisted.internet.reactor.")
        for name in imported(ast.parse(source))
    )


def ours(source: str) -> Iterator[Path]:
    """Find the files of ours that `source` imports."""
    for name in imported(ast.parse(source)):
        package, *parts = name.split(".")
        if package == "voicestatus":
            # The last part may be a name in the module, not the module.
            for path in (parts, parts[:-1]):
                file = PACKAGE.joinpath(*path).with_suffix(".py")
                if path and file.is_file():
                    yield file


def reached(files: list[Path]) -> dict[Path, Path]:
    """Follow imports: each file that `files` cannot do without, and who wants it."""
    wanted_by = {file: file for file in files}
    waiting = [*files]
    while waiting:
        importer = waiting.pop()
        for file in ours(importer.read_text()):
            if file not in wanted_by:
                wanted_by[file] = importer
                waiting.append(file)
    return wanted_by


PURE = [
    file
    for file in FILES
    if file.name in PURE_NAMES or PACKAGE / "core" in file.parents
]


def from_package(file: Path) -> str:
    return str(file.relative_to(PACKAGE))


@pytest.mark.parametrize(("file", "wanted_by"), reached(PURE).items(), ids=from_package)
def test_a_pure_file_and_what_it_imports_have_no_way_to_the_world(
    file: Path, wanted_by: Path
):
    why = f"{from_package(file)} must be pure, for {from_package(wanted_by)} is"
    assert impurities(file.read_text()) == [], why


@pytest.mark.parametrize("file", FILES, ids=from_package)
def test_only_the_entries_take_the_global_reactor(file: Path):
    entry = file == PACKAGE / "tap.py" or PACKAGE / "cli" in file.parents
    assert entry or not takes_the_reactor(file.read_text())


def test_the_pure_files_are_found():
    assert PACKAGE / "core" / "errors.py" in PURE
    assert len(PURE) < len(FILES)


@pytest.mark.parametrize(
    "source",
    [
        "import twisted.internet",
        "from twisted.logger import Logger",
        "from twisted.internet.defer import Deferred",
        "import autobahn",
        "import time",
        "def f():\n    from random import random",
        "import secrets, logging",
        "import socket as s",
        "import os.path",
        "from urllib import request",
        "import urllib.request",
        "from http.client import HTTPConnection",
        "from pathlib import Path",
        "from . import service",
        "open('x')",
        "print('x')",
        "from datetime import datetime\ndatetime.now()",
        "import datetime\ndatetime.datetime.utcnow()",
        "from datetime import date\ndate.today()",
        "Ed25519PrivateKey.generate()",
        "__import__('time')",
    ],
)
def test_the_check_sees_what_is_impure(source: str):
    assert impurities(source)


@pytest.mark.parametrize(
    "source",
    [
        "import msgspec, zlib, hashlib, hmac, ipaddress",
        "from collections.abc import Mapping",
        "from urllib.parse import parse_qs",
        "from http import HTTPStatus",
        "from datetime import UTC, datetime\ndatetime.fromtimestamp(1, UTC)",
        "self.opened(now=1)",
    ],
)
def test_the_check_lets_through_what_is_pure(source: str):
    assert impurities(source) == []


@pytest.mark.parametrize(
    "source",
    [
        "from voicestatus import hub",
        "from voicestatus.hub import Hub",
        "import voicestatus.hub",
        "def f():\n    from voicestatus.hub import Hub",
    ],
)
def test_what_a_pure_file_imports_of_ours_is_checked_too(source: str, tmp_path: Path):
    assert list(ours(source)) == [PACKAGE / "hub.py"]
    (tmp_path / "wire.py").write_text(source)
    assert PACKAGE / "hub.py" in reached([tmp_path / "wire.py"])


@pytest.mark.parametrize(
    "source",
    [
        "from twisted.internet import reactor",
        "def f():\n    from twisted.internet import defer, reactor as r",
        "import twisted.internet.reactor",
        "from twisted.internet.reactor import callLater",
    ],
)
def test_the_check_sees_the_global_reactor(source: str):
    assert takes_the_reactor(source)
