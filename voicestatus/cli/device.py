"""`voicestatus device ID …`: one sign, and what may be done to it."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import click
from rich.table import Table

from voicestatus.cli.client import (
    Call,
    call_of,
    calls_server,
    remember_device,
    server_options,
)
from voicestatus.cli.devices import state_of
from voicestatus.cli.given import json_of
from voicestatus.cli.shown import Json, ago, facts, lasting, show

OLD_SIGN = """\
That is its token, and it is shown this once. An old sign takes it in its portal, where
the token stands, or over USB: CONFIG:{"authToken":"…"}"""


class _Device(click.Group):
    """Takes options between the ID and the command for its own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        valued = {
            name
            for option in self.params
            if isinstance(option, click.Option) and not option.is_flag
            for name in option.opts
        }
        behind = 1
        while behind < len(args) and args[behind].startswith("-"):
            behind += 2 if args[behind] in valued else 1
        if args and not args[0].startswith("-"):
            args = [*args[1:behind], args[0], *args[behind:]]
        return super().parse_args(ctx, args)


@click.group("device", cls=_Device, invoke_without_command=True)
@click.argument("id", callback=remember_device, expose_value=False)
@server_options
@click.pass_context
def device(context: click.Context) -> None:
    """Show the sign ID, or do something to it."""
    if context.invoked_subcommand is None:
        call = call_of(context)
        shown = call.server.get(call.path)
        show(call, shown, _lines(shown))


# -- what it is ------------------------------------------------------------------------


@device.command()
@calls_server
def explain(call: Call) -> None:
    """Say why it shows what it shows."""
    told = call.server.get(f"{call.path}/explain")
    show(call, told, _reasons(told))


@device.command()
@click.option("--name", help="What people call it.")
@click.option("--tag", "tags", multiple=True, help="May be repeated.")
@calls_server
def add(call: Call, name: str | None, tags: tuple[str, ...]) -> None:
    """Enrol a new sign by hand, and print its token once."""
    new: dict[str, object] = {"id": call.device}
    if name is not None:
        new["name"] = name
    if tags:
        new["tags"] = tags
    _print_token(call, call.server.post("/devices", new))


@device.command()
@click.argument("name")
@calls_server
def rename(call: Call, name: str) -> None:
    """Call it NAME."""
    _change(call, {"name": name}, f"is called {name}")


# `-t` would be an option else, and `-home` the help.
@device.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]}
)
@click.argument("tags", nargs=-1, required=True, metavar="+TAG|-TAG...")
@calls_server
def tag(call: Call, tags: tuple[str, ...]) -> None:
    """Give it tags (+office), or take them away (-office)."""
    if wrong := [each for each in tags if each[:1] not in {"+", "-"} or not each[1:]]:
        raise click.UsageError(
            f"write +{wrong[0]} to give this tag, -{wrong[0]} to take it away"
        )
    has = dict.fromkeys(call.server.get(call.path)["tags"])
    for each in tags:
        if each[0] == "+":
            has[each[1:]] = None
        else:
            has.pop(each[1:], None)
    _change(call, {"tags": list(has)}, f"has the tags {', '.join(has) or '(none)'}")


@device.command()
@click.argument("rule", required=False, metavar="FILE|JSON")
@click.option("--clear", is_flag=True, help="Follow what its address names again.")
@calls_server
def rule(call: Call, rule: str | None, clear: bool) -> None:
    """Say what lights it: a rule as JSON, a file that holds one, or - for stdin.

    Without a rule the present one is printed.
    """
    if clear and rule is not None:
        raise click.UsageError("either a rule or --clear")
    if clear:
        _change(call, {"rule": None}, "has no rule of its own")
    elif rule is not None:
        new = json_of(rule, "the rule")
        _change(call, {"rule": new}, f"follows {json.dumps(new)}")
    else:
        click.echo(json.dumps(call.server.get(call.path)["rule"], indent=2))


# -- what it does ----------------------------------------------------------------------


@device.command()
@click.option(
    "--seconds",
    type=click.IntRange(1, 60),
    default=5,
    show_default=True,
    help="So long.",
)
@calls_server
def identify(call: Call, seconds: int) -> None:
    """Let it make itself seen."""
    _command(call, {"type": "identify", "seconds": seconds})


@device.command()
@calls_server
def reboot(call: Call) -> None:
    """Let it start anew."""
    _command(call, {"type": "reboot"})


@device.command()
@calls_server
def probe(call: Call) -> None:
    """Ask an old sign what it is and runs.

    It goes dark for some seconds. What had an id like conn-4 is a sign of its own then.
    """
    told = call.server.post(f"{call.path}/commands", {"type": "probe"})
    show(call, told, f"{call.device} is {told['device']}")


@device.command()
@click.argument("release")
@calls_server
def update(call: Call, release: str) -> None:
    """Give it RELEASE, by a rollout of its own."""
    command = {"type": "ota", "release": release}
    begun = call.server.post(f"{call.path}/commands", command)
    shown = f"voicestatus rollout status {begun['rollout']}"
    show(call, begun, f"{call.device} gets {release}: `{shown}`")


# -- what it may -----------------------------------------------------------------------


@device.command()
@calls_server
def token(call: Call) -> None:
    """Make a new token for it, and print it once.

    The old one is good until the new one is in use.
    """
    _print_token(call, call.server.post(f"{call.path}/token"))


@device.command()
@calls_server
def approve(call: Call) -> None:
    """Let it in: for the first time, or again."""
    _change(call, {"approved": True, "revoked": False}, "may come in")


@device.command()
@calls_server
def revoke(call: Call) -> None:
    """Let it in no more; `approve` takes it back."""
    _change(call, {"revoked": True}, "may come in no more")


@device.command()
@calls_server
def forget(call: Call) -> None:
    """Delete it: its tokens die, and its connection ends."""
    call.server.delete(call.path)
    show(call, {"device": call.device}, f"{call.device} is forgotten")


# -- inside ----------------------------------------------------------------------------


def _change(call: Call, change: Json, done: str) -> None:
    changed = call.server.patch(call.path, change)
    show(call, changed, f"{call.device} {done}")


def _command(call: Call, command: Json) -> None:
    sent = call.server.post(f"{call.path}/commands", command)
    show(call, sent, f"{command['type']} was sent to {call.device}")


def _print_token(call: Call, answer: Json) -> None:
    """Print a token alone on its line, so that a script can take it."""
    show(call, answer, str(answer["token"]))
    if not call.as_json:
        click.echo(OLD_SIGN, err=True)


def _lines(shown: Json) -> Table:
    now = datetime.now(UTC)
    heap, rssi, build = shown["heapFreeB"], shown["rssiDbm"], shown["build"]
    uptime = shown["uptimeS"]
    rows = {
        "id": shown["id"],
        "name": shown["name"],
        "state": state_of(shown),
        "tags": ", ".join(shown["tags"]),
        "rule": "" if shown["rule"] is None else json.dumps(shown["rule"]),
        "address": shown["address"] or "",
        "dialled": shown["path"],
        "protocol": f"version {shown['protocol']}",
        "chip": " ".join(filter(None, (shown["chip"], shown["board"]))),
        "firmware": shown["fw"] + ("" if build is None else f" (build {build})"),
        "can": ", ".join(shown["caps"]),
        "booted by": shown["boot"],
        "signal": "" if rssi is None else f"{rssi} dBm",
        "free heap": "" if heap is None else f"{heap} bytes",
        "up for": "" if uptime is None else lasting(timedelta(seconds=uptime)),
        "came back": f"{shown['reconnects']} times",
        "connected": ago(shown["connectedSince"], now) if shown["connected"] else "no",
        "last seen": "now" if shown["connected"] else ago(shown["lastSeen"], now),
        "first seen": ago(shown["firstSeen"], now),
        "own tokens": str(len(shown["tokens"])),
    }
    return facts(rows.items())


def _reasons(told: Json) -> Table:
    light = told["light"] if told["shown"] is None else told["shown"]
    rows = [
        ("shows", _light(light) if told["connected"] else "nothing: it is away"),
        ("why", told["why"]),
        ("rule", f"{json.dumps(told['rule'])} ({WHOSE[told['source']]})"),
        ("counted", f"{told['counted']}, needed {told['needed']}"),
        ("left out", _counts(told["excluded"])),
        ("guilds", _counts(told["guilds"])),
        *(
            ("runs", f"{p['kind']}, {p['remainingS']:.0f} s left")
            for p in told["pending"]
        ),
        *(("was told", f"{_time(f['at'])}  {f['text']}") for f in told["frames"]),
    ]
    return facts(rows)


WHOSE = {"device": "its own", "address": "of its address", "default": "nobody's"}


def _light(light: Json) -> str:
    if not light["known"]:
        return "nothing: nothing is known yet"
    state = "on" if light["on"] else "off"
    stale = ", the last that is known" if light["stale"] else ""
    return f"{state}, {light['count']} counted{stale}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.items() if number)


def _time(moment: str) -> str:
    return f"{datetime.fromisoformat(moment):%H:%M:%S}"
