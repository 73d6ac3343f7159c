"""The wheel alone, in an environment of its own, is a server that starts and ends."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).parent.parent
PACKAGED = [
    "voicestatus", "twisted", "setup.cfg", "pyproject.toml", "README.md", "LICENSE",
]  # fmt: skip
START_LIMIT_S = 60


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command that must succeed; return all that it said."""
    ended = subprocess.run(
        command,
        cwd=cwd,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    # Not pytest's tmp_path: it keeps the last three, of 100 MB each.
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture(scope="module")
def wheel(folder: Path) -> Path:
    # From a copy: setuptools leaves build/ behind and would pack what lies there.
    source = folder / "source"
    source.mkdir()
    for name in PACKAGED:
        if (CHECKOUT / name).is_dir():
            unwanted = shutil.ignore_patterns("__pycache__", "dropin.cache")
            shutil.copytree(CHECKOUT / name, source / name, ignore=unwanted)
        elif (CHECKOUT / name).exists():
            shutil.copy(CHECKOUT / name, source)
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, cwd=source)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(folder: Path, wheel: Path) -> Path:
    """Install the wheel and what it asks for, nothing else; return the bin folder."""
    environment = folder / "environment"
    run(sys.executable, "-m", "venv", environment, cwd=folder)
    run(environment / "bin" / "pip", "--quiet", "install", wheel, cwd=folder)
    return environment / "bin"


def test_the_wheel_holds_the_plugin_the_types_and_no_package_of_twisted(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    assert "twisted/plugins/voicestatus_plugin.py" in names
    assert "voicestatus/py.typed" in names
    # Either file would hide Twisted itself, or our plugin from it.
    assert "twisted/__init__.py" not in names
    assert "twisted/plugins/__init__.py" not in names
    strangers = {name.split("/")[0] for name in names} - {"voicestatus", "twisted"}
    assert all(name.endswith(".dist-info") for name in strangers)


def test_every_module_and_all_of_the_page_is_in_the_wheel(wheel: Path):
    package = CHECKOUT / "voicestatus"
    page = (file for file in (package / "web/dashboard").rglob("*") if file.is_file())
    expected = {
        str(file.relative_to(CHECKOUT)) for file in (*package.rglob("*.py"), *page)
    }
    assert expected <= set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.parametrize("command", ["twistd", "twist"])
def test_the_installed_plugin_explains_itself(
    command: str, installed: Path, tmp_path: Path
):
    said = run(installed / command, "voicestatus", "--help", cwd=tmp_path)
    assert "--listen" in said
    assert "--demo" in said


def test_the_installed_command_explains_itself(installed: Path, tmp_path: Path):
    assert "check-env" in run(installed / "voicestatus", "--help", cwd=tmp_path)


TWIST = ("-m", "twisted")
TWISTD = ("-c", "from twisted.scripts.twistd import run; run()")


@pytest.mark.parametrize("start", [TWIST, TWISTD], ids=["twist", "twistd"])
def test_the_plugin_is_found_from_the_checkout(start: tuple[str, str]):
    said = run(sys.executable, *start, "voicestatus", "--help", cwd=CHECKOUT)
    assert "--listen" in said


def test_the_installed_demo_starts_answers_and_ends_cleanly(
    installed: Path, tmp_path: Path, free_port: Callable[[], int]
):
    port = free_port()
    log = tmp_path / "log"
    command = [
        installed / "twistd", "--nodaemon", "--pidfile=", "voicestatus", "--demo",
        "--listen", f"tcp:{port}:interface=127.0.0.1",
    ]  # fmt: skip
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            cwd=tmp_path,
            env=without_settings(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as server,
    ):
        try:
            wait_until_healthy(f"http://127.0.0.1:{port}/health", server, log)
            server.terminate()
            status = server.wait(timeout=30)
        finally:
            server.kill()
    # Source: twisted/application/app.py, _exitWithSignal: after a clean end twistd
    # dies of the signal that asked for it, as shells and systemd expect.
    assert status == -signal.SIGTERM, log.read_text()
    assert "Server Shut Down" in log.read_text()
    assert "Traceback" not in log.read_text()


def without_settings() -> dict[str, str]:
    """The environment, without what a developer may have set for a server."""
    kept = {"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR"}
    return {name: value for name, value in os.environ.items() if name in kept}


def wait_until_healthy(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        assert server.poll() is None, f"the server ended:\n{log.read_text()}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                assert answer.status == 200
                return
        except OSError:  # not listening yet, or 503: not ready yet
            time.sleep(0.1)
    pytest.fail(f"{url} did not answer 200:\n{log.read_text()}")
