"""The `voicestatus` command, one file a subject."""

import click

from voicestatus.cli.check_env import check_env
from voicestatus.cli.simulate import simulate_discord, simulate_signs


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="voicestatus")
def main() -> None:
    """Tools around the server; the server itself is `twistd voicestatus`."""


main.add_command(check_env)
main.add_command(simulate_discord)
main.add_command(simulate_signs)
