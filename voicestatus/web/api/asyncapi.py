"""Describes what is said on the WebSockets as AsyncAPI 3.0, from the types. Pure."""

from collections.abc import Mapping
from typing import Any, get_args

import msgspec

from voicestatus.devices import wire
from voicestatus.web import messages
from voicestatus.web.api.openapi import REF
from voicestatus.web.commands import COMMANDS

Json = dict[str, Any]
ADMIN_PATH = "/admin/ws"

_TEXTS: Mapping[str, tuple[Json, str]] = {
    "Auth": (
        {"type": "string", "pattern": "^AUTH:.+$", "examples": ["AUTH:sesame"]},
        "The first text: the token.",
    ),
    "Ok": ({"type": "string", "const": "OK"}, "The token is right."),
    "NoAuth": ({"type": "string", "const": "NOAUTH"}, "It is not; a close follows."),
    "Lamp": (
        {"type": "string", "enum": ["1", "0"]},
        "The light is on, or off: the newest one counts.",
    ),
}
"""Messages that are no JSON."""


def asyncapi(version: str, device_path: str) -> Json:
    """Describe both channels."""
    admin_sends = ["Auth", *_names(messages.Taken)]
    server_tells = _names(messages.Sent)
    device_sends = ["Auth", *_names(wire.FromDevice)]
    device_hears = ["Ok", "NoAuth", "Lamp", *_names(wire.ToDevice)]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "voicestatus",
            "version": version,
            "description": "The WebSockets of signs and of the admin side.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "admin": _channel(ADMIN_PATH, [*admin_sends, *server_tells]),
            "devices": _channel(device_path, [*device_sends, *device_hears]),
        },
        "operations": {
            "adminSays": _operation("receive", "admin", admin_sends),
            "adminHears": _operation("send", "admin", server_tells),
            "deviceSays": _operation("receive", "devices", device_sends),
            "deviceHears": _operation("send", "devices", device_hears),
        },
        "components": _components(),
    }


def _names(union: Any) -> list[str]:
    return [kind.__name__ for kind in get_args(union) or (union,)]


def _channel(address: str, names: list[str]) -> Json:
    return {
        "address": address,
        "messages": {
            name: {"$ref": f"#/components/messages/{name}"}
            for name in dict.fromkeys(names)
        },
    }


def _operation(action: str, channel: str, names: list[str]) -> Json:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{n}"} for n in names],
    }


def _components() -> Json:
    spoken = [
        *get_args(messages.Sent),
        messages.Taken,
        *get_args(wire.FromDevice),
        *get_args(wire.ToDevice),
    ]
    _, schemas = msgspec.json.schema_components([*spoken, *COMMANDS], ref_template=REF)
    told: dict[str, Json] = {
        kind.__name__: {
            "name": kind.__name__,
            "title": schemas[kind.__name__].get("description", kind.__name__),
            "payload": {"$ref": REF.format(name=kind.__name__)},
        }
        for kind in spoken
    }
    texts = {
        name: {
            "name": name,
            "title": title,
            "contentType": "text/plain",
            "payload": schema,
        }
        for name, (schema, title) in _TEXTS.items()
    }
    return {"messages": texts | told, "schemas": schemas}
