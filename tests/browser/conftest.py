"""A real browser in front of a real server: processes, as a user has them.

The page's console, its Content-Security-Policy and what it asks for elsewhere are
watched in every test: whoever leaves something there fails.
"""

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

BIN = Path(sys.executable).parent
GUILD = "1187000000000000001"
ADMIN, SIGNS = "open-the-admin-side", "sesame"
CLIENT_ID, CLIENT_SECRET = "1187000000000000099", "sign-in-secret"
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 10_000


class Simulated:
    """A simulated Discord, and its controls."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._controls = url.removesuffix("/api/v10") + "/_control/"

    def control(self, what: str, **order: object) -> Any:
        return self._ask(what, json.dumps(order).encode())

    def join(self, user: str, channel: str | None, **more: object) -> None:
        """Let somebody join a channel, move to it, or leave (None)."""
        self.control("voice", guild=GUILD, user=user, channel=channel, **more)

    def state(self) -> Any:
        return self._ask("state", None)

    def log(self) -> Any:
        return self._ask("log?since=0", None)

    def _ask(self, what: str, body: bytes | None) -> Any:
        request = urllib.request.Request(
            self._controls + what, body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")


@dataclass
class Town:
    """One server beside its simulated Discord."""

    folder: Path
    discord: Simulated
    env: dict[str, str]
    key: str
    """The file of the key that releases are signed with."""
    ways: list[str] = field(default_factory=list)
    """Other addresses of the server."""
    stack: ExitStack = field(default_factory=ExitStack)
    _server: ExitStack = field(default_factory=ExitStack)

    @property
    def url(self) -> str:
        return self.env["PUBLIC_URL"]

    @property
    def written(self) -> Path:
        """What the server has said."""
        return self.folder / "server"

    def start(self) -> None:
        listen = f"tcp:{self.url.rpartition(':')[2]}:interface=127.0.0.1"
        run = ("-n", "--pidfile=", "voicestatus", "--listen", listen)
        self._server.enter_context(
            process(self.folder, self.written, self.env, "twistd", *run)
        )
        _await_ready(self.url, self.written)

    def stop(self) -> None:
        """Stop the server; its store, and its port, stay."""
        self._server.close()

    def api(self, method: str, path: str, body: object = None) -> Any:
        """Ask as the admin token."""
        request = urllib.request.Request(
            f"{self.url}/api/v1{path}",
            None if body is None else json.dumps(body).encode(),
            {
                "Authorization": f"Bearer {ADMIN}",
                "Content-Type": "application/json",
            },
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as e:
            e.add_note(e.read().decode())
            raise

    def signs(self, *options: str) -> None:
        """Start simulated signs that live as long as this town."""
        url = self.url.replace("http", "ws", 1) + "/ws"
        command = ["simulate-signs", "--url", url, "--token", SIGNS, *options]
        out = self.folder / f"signs-{time.monotonic_ns()}"
        self.stack.enter_context(process(self.folder, out, {}, "voicestatus", *command))

    def command(self, *arguments: str) -> str:
        """Run the `voicestatus` command to its end as the admin."""
        env = {"VOICESTATUS_URL": self.url, "ADMIN_TOKEN": ADMIN}
        return subprocess.run(
            [str(BIN / "voicestatus"), *arguments],
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout


@contextmanager
def process(
    folder: Path, written: Path, env: dict[str, str], name: str, *options: str
) -> Iterator[subprocess.Popen[bytes]]:
    with (
        written.open("ab") as output,
        subprocess.Popen(
            [str(BIN / name), *options],
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", **env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as started,
    ):
        try:
            yield started
            started.terminate()
            started.wait(timeout=20)
        finally:
            started.kill()


def said(file: Path, pattern: str, within_s: float = 30) -> re.Match[str]:
    """Wait until it has written this."""
    deadline = time.monotonic() + within_s
    while (found := re.search(pattern, file.read_text())) is None:
        assert time.monotonic() < deadline, file.read_text()
        time.sleep(0.02)
    return found


@contextmanager
def a_town(
    port: int, folder: Path, guild: str = GUILD, name: str = ""
) -> Iterator[Town]:
    """Start a simulated Discord, then a server that signs people in with it.

    With a name it is about a guild of that name, which is made.
    """
    with ExitStack() as stack:
        out = folder / "simulator"
        listen = "tcp:0:interface=127.0.0.1"
        quiet = ("--guild", GUILD, "--listen", listen, "--people", "0")
        stack.enter_context(
            process(folder, out, {}, "voicestatus", "simulate-discord", *quiet)
        )
        discord = Simulated(said(out, r"REST +(\S+)")[1])
        if name:
            discord.control("guilds", id=guild, name=name)
        keys = folder / "keys"
        subprocess.run(
            [str(BIN / "voicestatus"), "keygen", "--out", str(keys)],
            check=True,
            capture_output=True,
        )
        env = {
            "DISCORD_TOKEN": "bot-token",
            "DISCORD_API_URL": discord.url,
            "DISCORD_CLIENT_ID": CLIENT_ID,
            "DISCORD_CLIENT_SECRET": CLIENT_SECRET,
            "ESP_AUTH_TOKEN": SIGNS,
            "ADMIN_TOKEN": ADMIN,
            "GUILD_ID": guild,
            "STORAGE_URL": f"sqlite:{folder}/town.db",
            "OTA_PUBLIC_KEYS": (keys / "release.pub").read_text().strip(),
            "PUBLIC_URL": f"http://localhost:{port}",
        }
        town = Town(folder, discord, env, str(keys / "release.key"))
        town.start()
        stack.callback(town.stop)
        with town.stack:
            yield town


def _await_ready(url: str, written: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        except OSError:
            assert time.monotonic() < deadline, written.read_text()
            time.sleep(0.05)


@pytest.fixture(scope="session")
def start_town(
    free_port: Callable[[], int],
) -> Callable[..., AbstractContextManager[Town]]:
    """Start towns other than that of the tests."""
    return partial(a_town, free_port())


@pytest.fixture(scope="module")
def town(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[Town]:
    with a_town(free_port(), tmp_path_factory.mktemp("town")) as town:
        yield town
    text = town.written.read_text()
    assert "Traceback" not in text, text
    assert ADMIN not in text
    assert CLIENT_SECRET not in text


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    # As long as Playwright runs, nothing else in this process can have an event loop
    # of asyncio: other modules' tests need theirs.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=list(OPTIONS)
        )
        yield browser
        browser.close()


WATCH = """
addEventListener("securitypolicyviolation", (e) => {
  console.error(`policy: ${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}`);
});
"""


@pytest.fixture
def open_page(town: Town, chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Open pages; in the end nobody may have complained, nor asked elsewhere."""
    complaints: list[str] = []
    contexts: list[BrowserContext] = []

    def heard(kind: str, text: str) -> None:
        # The browser itself reports each answer that is no success: the page shows it.
        if not text.startswith("Failed to load resource"):
            complaints.append(f"{kind}: {text}")

    def opened(path: str = "/", **context: Any) -> Page:
        contexts.append(chromium.new_context(base_url=town.url, **context))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.add_init_script(WATCH)
        page.on(
            "console",
            lambda m: m.type in {"error", "warning"} and heard(m.type, m.text),
        )
        page.on("pageerror", lambda error: heard("error", str(error)))
        page.on("request", lambda r: elsewhere(r.url))
        page.goto(path)
        return page

    def elsewhere(url: str) -> None:
        # Avatars come from Discord's host, and sign-in goes to (simulated) Discord.
        mine = (town.url, *town.ways, town.discord.url.removesuffix("/api/v10"))
        if not url.startswith((*mine, "https://cdn.discordapp.com/", "data:", "blob:")):
            complaints.append(f"asked {url}")

    expect.set_options(timeout=PATIENCE_MS)
    yield opened
    for context in contexts:
        context.close()
    assert not complaints


@pytest.fixture
def as_admin(open_page: Callable[..., Page]) -> Callable[..., Page]:
    """Open a page as who has typed the admin token."""

    def opened(path: str = "/", **context: Any) -> Page:
        page = open_page("about:blank", **context)
        page.context.request.post("/auth/token", data={"token": ADMIN})
        page.goto(path)
        return page

    return opened


@pytest.fixture
def serious() -> Callable[[Page], list[str]]:
    """Return what axe-core finds on a page that is serious or worse."""

    def found(page: Page) -> list[str]:
        # Preloading would fetch style sheets anew, past the policy.
        answer = Axe().run(page, options={"preload": False})
        return [
            f"{each['impact']} {each['id']}: {[n['target'] for n in each['nodes']]}"
            for each in answer.response["violations"]
            if each["impact"] in {"serious", "critical"}
        ]

    return found
