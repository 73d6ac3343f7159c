"""`voicestatus doctor`: what is wrong with a set-up, and how to mend it."""

import json
import platform
import random
import resource
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from time import monotonic, time
from typing import Any

import click
from twisted.internet.task import react
from twisted.logger import ILogObserver, LogEvent, globalLogBeginner
from zope.interface import provider

from voicestatus.core.errors import ConfigError
from voicestatus.doctor import machine, storage
from voicestatus.doctor.discord import DiscordChecks
from voicestatus.doctor.examination import examine
from voicestatus.doctor.finding import Finding, Verdict, failed, listed, ok, warning
from voicestatus.settings import Settings, load
from voicestatus.settings import examine as read_names

Tell = Callable[[Finding], object]


@click.command("doctor")
@click.option(
    "--env-file",
    type=click.Path(exists=True, dir_okay=False),
    help="Settings besides the environment; else .env, if there is one.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object at the end.")
def doctor(env_file: str | None, as_json: bool) -> None:
    """Check settings, token, servers, storage, port and more; say how to mend each.

    A line for each check: ok, warning or failed. Exit status 1: something failed.
    """
    if env_file is None and Path(".env").is_file():
        env_file = ".env"
    globalLogBeginner.beginLoggingTo(
        [_show_bug], redirectStandardIO=False, discardBuffer=True
    )
    findings: list[Finding] = []

    def tell(finding: Finding) -> None:
        findings.append(finding)
        if not as_json:
            click.echo(finding.line())

    async def look(reactor: Any) -> None:
        await _look(env_file, reactor, tell)
        well = all(finding.verdict is not Verdict.FAILED for finding in findings)
        if as_json:
            click.echo(
                json.dumps({"ok": well, "checks": [_shown(f) for f in findings]})
            )
        raise SystemExit(0 if well else 1)

    react(look)


@provider(ILogObserver)
def _show_bug(event: LogEvent) -> None:
    """Show what nobody expected; all else worth saying stands in the findings."""
    failure = event.get("log_failure") or event.get("failure")  # so does `react`
    if failure is not None:
        click.echo(failure.getTraceback(), err=True)


async def _look(env_file: str | None, reactor: Any, tell: Tell) -> None:
    # The whole server, which `--help` does not need.
    from voicestatus.open_files import OTHER_FILES  # noqa: PLC0415

    settings = _settings(env_file, tell)
    needs = [each for each in requires("voicestatus") or () if "extra ==" not in each]
    tell(machine.versions(platform.python_version(), needs, _installed))
    if settings is None:
        tell(warning("the rest", "not checked: the settings come first"))
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = None if hard == resource.RLIM_INFINITY else hard
    tell(machine.open_files(limit, settings.max_connections, OTHER_FILES))
    discord = DiscordChecks(
        settings.discord_api_url,
        settings.discord_token.get_secret_value(),
        reactor,
        version=version("voicestatus"),
        jitter=random.SystemRandom().random,
        monotonic=monotonic,
        wall=time,
    )
    await examine(settings, discord, reactor, tell)


def _settings(env_file: str | None, tell: Tell) -> Settings | None:
    """Judge the settings as a start would."""
    source = (
        "the environment" if env_file is None else f"the environment and {env_file}"
    )
    try:
        settings = load(env_file)
        read = None if env_file is None else read_names(env_file)
    except ConfigError as e:
        wrong = "; ".join(line.strip() for line in str(e).splitlines())
        tell(failed("settings", wrong, "See docs/configuration.md"))
        return None
    tell(ok("settings", f"{source}: the server would start with them"))
    if env_file is not None and read is not None:
        for line in read.unreadable_lines:
            told = f"line {line} of {env_file} is not NAME=VALUE"
            tell(warning("settings", told, "Mend it, or begin it with #"))
        if read.unknown:
            tell(ok("settings", f"ignored: {listed(read.unknown)}"))
        for finding in storage.secrets_file(Path(env_file)):
            tell(finding)
    return settings


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _shown(finding: Finding) -> dict[str, str]:
    return {
        "check": finding.check,
        "verdict": finding.verdict,
        "found": finding.found,
        "remedy": finding.remedy,
    }
