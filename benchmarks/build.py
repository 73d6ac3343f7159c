"""Makes what is not Python: the generator, the floor, and the Node peer's `ws`."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from benchmarks.process import BenchmarkError

HERE = Path(__file__).parent
BUILD = HERE.parent / "build" / "bench"
NODE_PEER = HERE / "peers" / "node"
CFLAGS = ("-O2", "-std=c11", "-Wall", "-Wextra", "-Werror")


def compiled(source: str, folder: Path = BUILD) -> Path:
    """Compile a C file of ours, if it is newer than its program, and return that.

    :raises BenchmarkError: when there is no C compiler.
    """
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise BenchmarkError("no C compiler: on Debian, apt-get install gcc libc6-dev")
    code = HERE / source
    program = folder / code.stem
    if not program.exists() or program.stat().st_mtime < code.stat().st_mtime:
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([compiler, *CFLAGS, "-o", program, code], check=True)
    return program


def node_peer() -> tuple[str | Path, ...]:
    """Install `ws` beside the Node peer, if it is not there; return its command.

    :raises BenchmarkError: without Node.js.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise BenchmarkError("no Node.js: on Debian, apt-get install nodejs npm")
    if ws_version() != _wanted_ws():
        command = [npm, "install", "--silent", "--no-audit", "--no-fund"]
        subprocess.run([*command, "--no-package-lock"], cwd=NODE_PEER, check=True)
    return node, NODE_PEER / "server.js"


def ws_version() -> str | None:
    """Return the version of `ws` that is installed for the Node peer."""
    package = NODE_PEER / "node_modules" / "ws" / "package.json"
    if not package.exists():
        return None
    return str(json.loads(package.read_text(encoding="utf-8"))["version"])


def _wanted_ws() -> str:
    package = json.loads((NODE_PEER / "package.json").read_text(encoding="utf-8"))
    return str(package["dependencies"]["ws"])
