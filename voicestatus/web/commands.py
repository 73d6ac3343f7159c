"""Does to a device what an admin says, and writes down who said it."""

from collections.abc import Awaitable, Mapping
from typing import Annotated, Any, Protocol, TypeVar, get_args

from msgspec import UNSET, Meta, Struct, UnsetType

from voicestatus.core.errors import Refusal
from voicestatus.core.plan import Plan, Stage, Target
from voicestatus.devices import wire
from voicestatus.ota.probe import id_of
from voicestatus.ota.updater import Facts
from voicestatus.web.api.reading import read_value
from voicestatus.web.audit import Audit, Caller
from voicestatus.web.everywhere import Everywhere
from voicestatus.web.rollout_desk import Page, Start, Try, entries_of
from voicestatus.web.rollout_views import Rollout, RolloutPreview
from voicestatus.web.rollouts_everywhere import AnyRollouts


class ProbeOrder(
    Struct, frozen=True, rename="camel", tag="probe", forbid_unknown_fields=True
):
    """An old device is asked what it runs: it is dark and away for some seconds."""


class UpdateOrder(
    Struct, frozen=True, rename="camel", tag="ota", forbid_unknown_fields=True
):
    """A device gets a release: by a rollout of its own."""

    release: Annotated[str, Meta(examples=["esp32-14-0f1e2d3c"])]


T = TypeVar("T")
Kind = wire.Command | ProbeOrder | UpdateOrder
COMMANDS: tuple[type[Struct], ...] = get_args(Kind)

Command = Annotated[
    # The keys of a `config` are the device's business: they are passed on as they are.
    dict[str, Any],
    Meta(
        description="What the device is sent, as docs/wire-device.md has it, or what "
        "is done with it.",
        extra_json_schema={
            "oneOf": [
                {"$ref": f"#/components/schemas/{kind.__name__}"} for kind in COMMANDS
            ],
            "examples": [{"type": "identify", "seconds": 5}],
        },
    ),
]


class CommandSent(Struct, frozen=True, rename="camel"):
    """A command that was sent; whether the device obeys, it says itself."""

    device: Annotated[
        str,
        Meta(description="after a `probe` its lasting id, which that may have told"),
    ]
    type: str
    rollout: Annotated[
        str | UnsetType, Meta(description="the rollout that an `ota` has begun")
    ] = UNSET


class Probes(Protocol):
    """Who asks old devices what they are. See `ota.probe.Probes`."""

    async def probe(self, device: str) -> Facts: ...


class Commands:
    """The one way from an admin to a device, for the API and the live channel."""

    def __init__(
        self,
        everywhere: Everywhere,
        audit: Audit,
        probes: Probes,
        rollouts: AnyRollouts,
    ) -> None:
        self._everywhere, self._audit = everywhere, audit
        self._probes, self._rollouts = probes, rollouts

    async def send(
        self, caller: Caller, device: str, command: Mapping[str, Any]
    ) -> CommandSent:
        """Do it, and write down that it was done.

        :raises Refusal: as `Everywhere.command` and `Probes.probe` do;
            `VALIDATION_FAILED`, `RELEASE_NOT_FOUND`, and `DEVICE_NOT_ELIGIBLE`.
        """
        kind: Kind = read_value(command, Kind)
        match kind:
            case ProbeOrder():
                return await self._probe(caller, device)
            case UpdateOrder(release):
                return await self._update(caller, device, release)
            case _:
                return await self._pass_on(caller, device, kind, command)

    async def _pass_on(
        self,
        caller: Caller,
        device: str,
        kind: wire.Command,
        command: Mapping[str, Any],
    ) -> CommandSent:
        work = self._everywhere.command(device, command)
        noted = _noted(kind, command)
        await self._written(work, "FATE_UNKNOWN", caller, device, noted)
        return CommandSent(device, str(kind.__struct_config__.tag))

    async def _probe(self, caller: Caller, device: str) -> CommandSent:
        work, noted = self._probes.probe(device), {"type": "probe"}
        facts = await self._written(work, "PROBE_UNANSWERED", caller, device, noted)
        return CommandSent(id_of(facts), "probe")

    async def _written(
        self,
        work: Awaitable[T],
        sent: str,
        caller: Caller,
        device: str,
        noted: Mapping[str, Any],
    ) -> T:
        """Do it, and write it down; also when it is refused with `sent`.

        Then the device may have been told all the same.
        """
        entry = caller, "device.command", device, noted
        try:
            done = await work
        except Refusal as e:
            if e.code == sent:
                await self._audit.note(*entry)
            raise
        await self._audit.note(*entry)
        return done

    async def _update(self, caller: Caller, device: str, release: str) -> CommandSent:
        plan = Plan(
            name=f"{device} alone",
            releases=(release,),
            target=Target(ids=(device,)),
            stages=(Stage(count=1, success_percent=100, soak_s=0),),
            probe=True,
            again=True,
        )
        tried = await self._rollouts.ask(Try(plan, Page(1, "")), RolloutPreview)
        if not tried.devices:
            raise Refusal("DEVICE_NOT_FOUND", "There is no device with this id.")
        (turn,) = tried.devices
        if turn.stage is None:
            text = f"Device {device} does not get release {release}: {turn.reason}."
            raise Refusal("DEVICE_NOT_ELIGIBLE", text, why=turn.why)
        said = {"type": "ota", "release": release}
        also = self._audit.entry(caller, "device.command", device, said)
        rollout = await self._rollouts.ask(Start(plan, entries_of(also)), Rollout)
        return CommandSent(device, "ota", rollout.id)


def _noted(kind: wire.Command, command: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what is written down: of settings the names, for one may be a secret."""
    if isinstance(kind, wire.Config):
        return {"type": "config", "keys": sorted(command.keys() - {"type"})}
    return command
