"""Sends commands to devices, and writes down who did."""

from collections.abc import Mapping
from typing import Annotated, Any, get_args

import msgspec
from msgspec import Meta

from voicestatus.devices import wire
from voicestatus.devices.registry import Registry
from voicestatus.web.api.reading import read_value
from voicestatus.web.audit import Audit, Caller

COMMANDS: tuple[type[msgspec.Struct], ...] = get_args(wire.Command)

Command = Annotated[
    # The keys of a `config` are the device's business: they are passed on as they are.
    dict[str, Any],
    Meta(
        description="What the device is sent, as docs/wire-device.md has it.",
        extra_json_schema={
            "oneOf": [
                {"$ref": f"#/components/schemas/{kind.__name__}"} for kind in COMMANDS
            ],
            "examples": [{"type": "identify", "seconds": 5}],
        },
    ),
]


class Commands:
    """The one way from an admin to a device, for the API and the live channel."""

    def __init__(self, registry: Registry, audit: Audit) -> None:
        self._registry, self._audit = registry, audit

    async def send(
        self, caller: Caller, device: str, command: Mapping[str, Any]
    ) -> str:
        """Send it, then write down that it was sent; return its type.

        :raises Refusal: as `Registry.command` does, and `VALIDATION_FAILED`.
        """
        kind: wire.Command = read_value(command, wire.Command)
        self._registry.command(device, command)
        await self._audit.note(caller, "device.command", device, _noted(kind, command))
        return str(kind.__struct_config__.tag)


def _noted(kind: wire.Command, command: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what is written down: of settings the names, for one may be a secret."""
    if isinstance(kind, wire.Config):
        return {"type": "config", "keys": sorted(command.keys() - {"type"})}
    return command
