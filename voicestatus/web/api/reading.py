"""From bytes to declared types, or a refusal that names the key. Pure."""

import re
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from voicestatus.core.errors import Refusal
from voicestatus.core.ids import GuildId, snowflake

_FIELD = re.compile(r"(?:unknown|required) field `(.*?)`", re.DOTALL)
_PATH = re.compile(r"`\$\.?([^`]*)`\Z")


def read_body(body: bytes, type_: Any) -> Any:
    """Decode a JSON body; what is not declared is refused.

    :raises Refusal: `VALIDATION_FAILED`, with `key` where one is wrong.
    """
    try:
        return msgspec.json.decode(body, type=type_)
    except msgspec.ValidationError as e:
        raise _invalid(str(e)) from e
    except (ValueError, RecursionError) as e:
        # A DecodeError is a ValueError; so is an integer of thousands of digits.
        deep = isinstance(e, RecursionError)
        message = "it is nested too deep" if deep else str(e)
        raise Refusal("VALIDATION_FAILED", f"The body is not JSON: {message}") from e


def read_query(query: bytes, type_: Any) -> Any:
    """Decode a query; each key once, and none that is not declared.

    :raises Refusal: `VALIDATION_FAILED`, with the `key` that is wrong.
    """
    found: dict[str, str] = {}
    text = query.decode("ascii", "replace")
    for key, value in parse_qsl(text, keep_blank_values=True, errors="replace"):
        if key in found:
            raise invalid(key, f"{key} is given more than once")
        found[key] = value
    asked = read_value(found, type_, strict=False)
    for key, value in msgspec.to_builtins(asked).items():
        # msgspec takes 1.0 for an integer.
        if isinstance(value, int) and found.get(key, str(value)) != str(value):
            raise invalid(key, f"{key} should be a whole number")
    return asked


def read_value(value: object, type_: Any, *, strict: bool = True) -> Any:
    """Take what JSON, or with `strict` off a query, was decoded to.

    :raises Refusal: `VALIDATION_FAILED`, with `key` where one is wrong.
    """
    try:
        return msgspec.convert(value, type_, strict=strict)
    except msgspec.ValidationError as e:
        raise _invalid(str(e)) from e


def guild_id(text: str) -> GuildId:
    """:raises Refusal: `GUILD_NOT_FOUND`, when it cannot be the id of any."""
    id_ = snowflake(text)
    if id_ is None:
        raise Refusal("GUILD_NOT_FOUND", "There is no such Discord server here.")
    return GuildId(id_)


def invalid(key: str, message: str) -> Refusal:
    """Make the refusal of one key."""
    return Refusal("VALIDATION_FAILED", message, key=key)


def _invalid(message: str) -> Refusal:
    """Find which key msgspec means: it says that in words alone."""
    path = _PATH.search(message)
    field = _FIELD.search(message)
    # `[...]` is how it writes a key below one that is not declared.
    at = path[1].partition("[...]")[0] if path else ""
    parts = [at, field[1] if field else ""]
    key = ".".join(part for part in parts if part)
    return invalid(key, message) if key else Refusal("VALIDATION_FAILED", message)
