"""What `twistd voicestatus` takes."""

import secrets
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar, Final

from twisted.python import usage

from voicestatus.core.errors import ConfigError
from voicestatus.settings import examine, load

VERSION: Final = version("voicestatus")
DEFAULT_ENV_FILE: Final = ".env"


class Options(usage.Options):
    """The options; all else is a setting."""

    optFlags: ClassVar = [
        ["demo", None, "run with a simulated Discord; needs no account"]
    ]
    optParameters: ClassVar = [
        ["env-file", None, None, "file with settings [default: .env, if there is one]"],
        ["record", None, None, "write a trace of Discord's Gateway to this new file"],
    ]
    longdesc = (
        "Lights signs when somebody is in voice on Discord."
        " Settings come from the environment and .env: docs/configuration.md."
    )

    def __init__(self) -> None:
        super().__init__()
        self["listen"] = []

    def opt_listen(self, endpoint: str) -> None:
        """Listen on this Twisted endpoint instead of HOST and PORT; may be repeated."""
        self["listen"].append(endpoint)

    def opt_version(self) -> None:
        """Show the version and exit."""
        sys.stdout.write(f"voicestatus {VERSION}\n")
        raise SystemExit(0)

    def postOptions(self) -> None:
        env_file = self["env-file"]
        if env_file is None and Path(DEFAULT_ENV_FILE).is_file():
            env_file = DEFAULT_ENV_FILE
        self.unreadable: tuple[int, ...] = ()
        self.made_up = _made_up_secrets() if self["demo"] else None
        try:
            self.settings = load(env_file, self._demo_defaults())
            if env_file is not None:
                self.unreadable = examine(env_file).unreadable_lines
        except ConfigError as e:
            raise SystemExit(f"voicestatus cannot start:\n{e}") from None
        # twistd changes the folder before anything is opened.
        record = self["record"]
        self.record = None if record is None else Path(record).absolute()

    def _demo_defaults(self) -> dict[str, str]:
        if self.made_up is None:
            return {}
        return {
            "DISCORD_TOKEN": secrets.token_urlsafe(),
            "STORAGE_URL": "memory:",
            **self.made_up,
        }


def _made_up_secrets() -> Mapping[str, str]:
    return {name: secrets.token_hex(12) for name in ("ESP_AUTH_TOKEN", "ADMIN_TOKEN")}
