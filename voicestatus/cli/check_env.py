"""`voicestatus check-env`: what this server makes of an old .env file."""

import json

import click

from voicestatus.core.errors import ConfigError
from voicestatus.settings import examine, judge


@click.command("check-env")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def check_env(context: click.Context, file: str, as_json: bool) -> None:
    """Say what of FILE is understood, what is not, and what would stop a start.

    Values are judged and never shown. Exit status 0: the server would start with it.
    """
    try:
        found = examine(file)
        wrong = judge(file)
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(
            json.dumps(
                {
                    "understood": found.understood,
                    "unknown": found.unknown,
                    "unreadableLines": found.unreadable_lines,
                    "wrong": dict(wrong),
                }
            )
        )
    else:
        for name in found.understood:
            if name not in wrong:
                click.echo(f"understood  {name}")
        for name in found.unknown:
            click.echo(f"ignored     {name}: not a setting of this server")
        for line in found.unreadable_lines:
            click.echo(f"unreadable  line {line}: not NAME=VALUE")
        for name, should in wrong.items():
            click.echo(f"wrong       {name}: {should}")
        if not wrong:
            click.echo("the server would start with this file")
    context.exit(1 if wrong else 0)
