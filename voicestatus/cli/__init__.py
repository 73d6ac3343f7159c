"""The `voicestatus` command, one file a subject."""

from importlib import import_module
from types import MappingProxyType

import click

FILES = MappingProxyType(
    {
        "backup": "store",
        "check-env": "check_env",
        "device": "device",
        "devices": "devices",
        "doctor": "doctor",
        "inspect": "inspect",
        "keygen": "keygen",
        "publish": "publish",
        "releases": "releases",
        "replay": "replay",
        "restore": "store",
        "rollout": "rollout",
        "sign": "sign",
        "simulate-discord": "simulate_discord",
        "simulate-signs": "simulate_signs",
    }
)
"""In which file each command stands, as a function of the same name."""


class _Commands(click.Group):
    """Imports a command when it is typed: the simulator alone takes a second."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        return sorted(FILES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        if cmd_name not in FILES:
            return None
        file = import_module(f"voicestatus.cli.{FILES[cmd_name]}")
        command: click.Command = getattr(file, cmd_name.replace("-", "_"))
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="voicestatus")
def main() -> None:
    """Tools around the server; the server itself is `twistd voicestatus`."""
