"""`voicestatus simulate-signs`: many signs, and what they show."""

import json
import resource
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import msgspec
from rich.live import Live
from rich.table import Table
from twisted.internet.task import LoopingCall

from voicestatus.simulator.fates import BadEnd, Updating
from voicestatus.simulator.sign_offers import public_key
from voicestatus.simulator.signs import Habits, SignFleet, Tally

PERCENT = click.FloatRange(0, 100)


@click.command("simulate-signs")
@click.option("--url", required=True, help="Such as ws://localhost:8080/ws.")
@click.option("--token", required=True, help="What the signs say: AUTH:<token>.")
@click.option("--count", type=click.IntRange(1), default=1, help="How many signs.")
@click.option("--duration", type=click.FloatRange(0), help="Seconds; else until ^C.")
@click.option(
    "--dials", type=click.FloatRange(1), default=500.0, help="Connections a second."
)
@click.option("--json", "as_json", is_flag=True, help="Print only a summary, as JSON.")
@click.option("--v2", is_flag=True, help="Signs with an identity, of several chips.")
@click.option(
    "--caps", default="light", show_default=True, help="What they can (--v2); commas."
)
@click.option(
    "--status-every",
    type=click.IntRange(1),
    default=60,
    show_default=True,
    help="Seconds between a sign's reports (--v2).",
)
@click.option(
    "--tokens",
    "tokens_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keeps their own tokens from run to run (--v2).",
)
@click.option(
    "--churn",
    type=click.FloatRange(0, 6000),
    default=0.0,
    metavar="PERCENT",
    help="So much of the fleet a minute goes and comes back.",
)
@click.option(
    "--lossy",
    type=click.FloatRange(0, 100),
    default=0.0,
    metavar="PERCENT",
    help="So much of the fleet has a bad link.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, help="Makes ids and mishaps."
)
@click.option(
    "--legacy",
    type=PERCENT,
    default=0.0,
    metavar="PERCENT",
    help="So much of the fleet is of the first kind (--v2).",
)
@click.option(
    "--own-addresses",
    is_flag=True,
    help="Each dials from its own 127.x.x.x; the server has to be on this machine.",
)
@click.option(
    "--updates", is_flag=True, help="They take offers, and update themselves."
)
@click.option(
    "--update-key",
    "update_keys",
    multiple=True,
    help="Who may sign releases (base64); without one, anybody (--updates).",
)
@click.option(
    "--power-loss",
    type=PERCENT,
    default=0.0,
    metavar="PERCENT",
    help="So many lose power in mid-flash, and are back as they were (--updates).",
)
@click.option(
    "--never-back",
    type=PERCENT,
    default=0.0,
    metavar="PERCENT",
    help="So many do not start any more after an update (--updates).",
)
@click.option(
    "--failing",
    type=PERCENT,
    default=0.0,
    metavar="PERCENT",
    help="So many cannot write the image (--updates).",
)
@click.option(
    "--flapping",
    type=PERCENT,
    default=0.0,
    metavar="PERCENT",
    help="So many cannot hold a connection after an update (--updates).",
)
@click.option(
    "--slow",
    type=PERCENT,
    default=0.0,
    metavar="PERCENT",
    help="So many download 20 kB a second (--updates).",
)
@click.option(
    "--bad-build",
    "bad_builds",
    type=click.IntRange(0),
    multiple=True,
    help="This build starts on no sign (--updates).",
)
@click.option(
    "--bad-end",
    type=click.Choice([end.value for end in BadEnd]),
    default=BadEnd.ROLLBACK.value,
    show_default=True,
    help="What a bad build does to signs of the second kind (--updates).",
)
def simulate_signs(
    url: str,
    token: str,
    count: int,
    duration: float | None,
    dials: float,
    as_json: bool,
    v2: bool,
    caps: str,
    status_every: int,
    tokens_file: Path | None,
    churn: float,
    lossy: float,
    seed: int,
    legacy: float,
    own_addresses: bool,
    updates: bool,
    update_keys: tuple[str, ...],
    power_loss: float,
    never_back: float,
    failing: float,
    flapping: float,
    slow: float,
    bad_builds: tuple[int, ...],
    bad_end: str,
) -> None:
    """Be many signs, and show what they show.

    Fails (1) when a sign was never let in.
    """
    from twisted.internet import reactor as installed  # noqa: PLC0415 - the entry

    reactor: Any = installed
    secure, host, port, path = _address(url)
    own_tokens = {} if tokens_file is None else _tokens_in(tokens_file)
    _allow_open_files(count + 100)
    updating = Updating(
        keys=tuple(map(_public_key, update_keys)),
        power_loss_percent=power_loss,
        never_back_percent=never_back,
        failing_percent=failing,
        flapping_percent=flapping,
        slow_percent=slow,
        bad_builds=frozenset(bad_builds),
        bad_end=BadEnd(bad_end),
    )
    fleet = SignFleet(
        reactor,
        host,
        port,
        path,
        token=token,
        count=count,
        dials_per_s=dials,
        secure=secure,
        habits=Habits(
            v2=v2,
            caps=tuple(filter(None, map(str.strip, caps.split(",")))),
            status_every_s=status_every,
            churn_percent=churn,
            lossy_percent=lossy,
            seed=seed,
            legacy_percent=legacy,
            own_addresses=own_addresses,
            updating=updating if updates else None,
        ),
        own_tokens=own_tokens,
    )
    last = _run(reactor, fleet, duration, as_json=as_json)
    if tokens_file is not None:
        _keep_tokens(tokens_file, own_tokens)
    if as_json:
        summary = asdict(last) | {"ever_connected": fleet.ever_connected}
        click.echo(json.dumps(summary))
    else:
        click.echo("in all: " + _line(last))
    if fleet.ever_connected < count:
        raise click.ClickException(
            f"{count - fleet.ever_connected} of {count} signs were never let in"
        )


def _run(
    reactor: Any, fleet: SignFleet, duration: float | None, *, as_json: bool
) -> Tally:
    """Let the signs live until the end; return how they stood then."""
    last: list[Tally] = []

    def stop() -> object:
        last.append(fleet.tally)
        return fleet.stopService()

    reactor.addSystemEventTrigger("before", "shutdown", stop)
    reactor.callWhenRunning(fleet.startService)
    if duration is not None:
        reactor.callLater(duration, reactor.stop)
    live = Live(auto_refresh=False) if not as_json and sys.stdout.isatty() else None
    with live or nullcontext():
        if not as_json:
            show = LoopingCall(_show, fleet, live)
            show.clock = reactor
            reactor.callWhenRunning(show.start, 1, now=False)
        reactor.run()
    return last[0]


def _address(url: str) -> tuple[bool, str, int, str]:
    """Take an address apart: secure, host, port, path with query."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as e:
        raise click.BadParameter(str(e), param_hint="--url") from e
    if parts.scheme not in {"ws", "wss"} or not parts.hostname:
        raise click.BadParameter(
            "must be ws://HOST… or wss://HOST…", param_hint="--url"
        )
    secure = parts.scheme == "wss"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return secure, parts.hostname, port or (443 if secure else 80), path


def _public_key(text: str) -> str:
    try:
        public_key(text)
    except ValueError as e:
        raise click.BadParameter(
            "must be what `voicestatus keygen` wrote to release.pub",
            param_hint="--update-key",
        ) from e
    return text


def _tokens_in(file: Path) -> dict[str, str]:
    """Read the signs' own tokens; none, where there is no file yet."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, str])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as e:
        raise click.BadParameter(
            "must be a file that an earlier run wrote", param_hint="--tokens"
        ) from e


def _keep_tokens(file: Path, tokens: Mapping[str, str]) -> None:
    """Write them for the next run; nobody else may read them."""
    try:
        file.touch(mode=0o600)
        file.write_bytes(msgspec.json.encode(tokens))
    except OSError as e:
        raise click.ClickException(f"cannot write to {file}: {e.strerror}") from e


def _allow_open_files(wanted: int) -> None:
    """A connection is an open file; the usual soft limit is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


def _shown(tally: Tally) -> dict[str, str]:
    return {name.replace("_", " "): str(n) for name, n in asdict(tally).items()}


def _line(tally: Tally) -> str:
    return "  ".join(f"{name} {value}" for name, value in _shown(tally).items())


def _show(fleet: SignFleet, live: Live | None) -> None:
    tally = fleet.tally
    if live is None:
        click.echo(_line(tally))
        return
    shown = _shown(tally)
    table = Table(*shown, box=None)
    table.add_row(*shown.values())
    live.update(table, refresh=True)
