"""Environment and .env -> one frozen Settings, or one error that names all wrong."""

import ipaddress
import logging
import os
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    SecretStr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
)
from pydantic.fields import FieldInfo

from voicestatus.core.addresses import Network, parse_networks
from voicestatus.core.errors import ConfigError
from voicestatus.core.features import Feature
from voicestatus.core.fleet import Enrolment
from voicestatus.core.ids import GuildId
from voicestatus.core.storage_address import parse as parse_storage

_RESERVED_PATHS = (
    "/health", "/livez", "/readyz", "/metrics", "/api", "/admin", "/auth", "/ota",
)  # fmt: skip


def _split(text: object) -> object:
    if isinstance(text, str):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text


def _with_presence(features: frozenset[Feature]) -> frozenset[Feature]:
    return features | {Feature.PRESENCE}


def _snowflake(value: int) -> int:
    if not 0 < value < 2**64:
        raise ValueError
    return value


def _secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text or not text.isprintable():
        raise ValueError
    return value


def _lower(text: object) -> object:
    return text.lower() if isinstance(text, str) else text


def _unless_auto(text: object) -> object:
    return None if _lower(text) == "auto" else text


def _another_port(value: int, others: ValidationInfo) -> int:
    if value == others.data.get("port"):
        raise ValueError
    return value


def _of_a_client(value: SecretStr, others: ValidationInfo) -> SecretStr:
    if others.data.get("discord_client_id", "wrong") is None:
        raise ValueError
    return value


def _ws_path(path: str) -> str:
    first = "/" + path[1:].partition("/")[0]
    # The front compares it with what is sent, where all else comes as %XX.
    plain = path.isascii() and path.isprintable()
    if not plain or not re.fullmatch(r"/[^ ?#%]+", path) or first in _RESERVED_PATHS:
        raise ValueError
    return path


def _http_url(url: str) -> str:
    parts = urlsplit(url)
    known = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    if not known or parts.query:
        raise ValueError
    return url.rstrip("/")


def _public_key(text: str) -> str:
    if len(b64decode(text, validate=True)) != ED25519_KEY_BYTES:
        raise ValueError
    return text


def _storage_url(url: str) -> str:
    parse_storage(url)
    return url


def _default_storage() -> str:
    """Return where systemd lets the service keep state, else the present folder.

    Source: systemd.exec(5), StateDirectory (several are joined by colons).
    """
    folder = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return f"sqlite:{folder}/voicestatus.db" if folder else "sqlite:voicestatus.db"


Secret = Annotated[SecretStr, AfterValidator(_secret)]
Port = Annotated[int, Field(ge=1, le=65535)]
_A_PORT = "a port number, 1 to 65535"
SHARDS_MOST = 16_384
ED25519_KEY_BYTES = 32

# It warns of each unreadable line at each reading; `examine` tells them once.
logging.getLogger("dotenv.main").setLevel(logging.ERROR)


class Settings(BaseModel):
    """What the operator may choose; each description says what a value should hold."""

    model_config = ConfigDict(
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        alias_generator=str.upper,
    )

    discord_token: Secret = Field(
        description="the bot's token (discord.com/developers -> your app -> Bot)"
    )
    guild_id: Annotated[
        tuple[Annotated[GuildId, AfterValidator(_snowflake)], ...],
        BeforeValidator(_split),
    ] = Field((), description="server ids (whole numbers), separated by commas")
    features: Annotated[
        frozenset[Feature],
        BeforeValidator(lambda text: _split(_lower(text))),
        AfterValidator(_with_presence),
    ] = Field(
        frozenset({Feature.PRESENCE, Feature.COMMUNITY}),
        description="names of features, separated by commas: community,"
        " message-content, members, speaking; presence is always on",
    )
    esp_auth_token: Secret = Field(
        description="the token that your signs send, printable text"
    )
    admin_token: Secret | None = Field(
        None, description="a token for the admin side, printable text"
    )
    port: Port = Field(
        8080,
        validation_alias=AliasChoices("PORT", "ESP_WS_PORT"),
        description=_A_PORT,
    )
    host: Annotated[str, AfterValidator(lambda h: str(ipaddress.ip_address(h)))] = (
        Field("0.0.0.0", description="an IP address to listen on")  # noqa: S104 - signs call from outside
    )
    health_port: Annotated[Port, AfterValidator(_another_port)] | None = Field(
        None, description=_A_PORT + ", another one than PORT"
    )
    ws_path: Annotated[str, AfterValidator(_ws_path)] = Field(
        "/ws", description="a path such as /ws, without a query, not one of ours"
    )
    trusted_proxies: Annotated[tuple[Network, ...], PlainValidator(parse_networks)] = (
        Field((), description="networks such as 10.0.0.0/8, separated by commas")
    )
    max_connections: int = Field(
        50_000, ge=1, le=1_000_000, description="a number, 1 to 1000000"
    )
    max_per_address: int = Field(
        1000, ge=0, le=1_000_000, description="a number, 0 (no limit) to 1000000"
    )
    storage_url: Annotated[str, AfterValidator(_storage_url)] = Field(
        default_factory=_default_storage,
        repr=False,  # it may hold a password
        description="sqlite:PATH such as sqlite:/data/voicestatus.db,"
        " redis://USER:PASSWORD@HOST/0 (docs/storage.md), or memory:",
    )
    count_bots: bool = Field(False, description="true or false")
    count_afk: bool = Field(False, description="true or false")
    unknown_policy: Annotated[Literal["hold", "off"], BeforeValidator(_lower)] = Field(
        "hold", description="hold or off"
    )
    unknown_after_s: float = Field(
        60,
        ge=0,
        le=86400,
        validation_alias="UNKNOWN_AFTER",
        description="seconds, 0 to 86400",
    )
    shards: Annotated[
        Annotated[int, Field(ge=1, le=SHARDS_MOST)] | None,
        BeforeValidator(_unless_auto),
    ] = Field(None, description=f"auto, or a number, 1 to {SHARDS_MOST}")
    lease_s: float = Field(10, ge=1, le=300, description="seconds, 1 to 300")
    public_url: Annotated[str, AfterValidator(_http_url)] | None = Field(
        None,
        description="the address under which signs and browsers reach this server,"
        " such as https://signs.example",
    )
    ota_public_keys: Annotated[
        tuple[Annotated[str, AfterValidator(_public_key)], ...], BeforeValidator(_split)
    ] = Field(
        (),
        description="what `voicestatus keygen` wrote to release.pub (44 characters);"
        " several keys are separated by commas",
    )
    discord_client_id: (
        Annotated[str, StringConstraints(pattern=r"^[0-9]{1,20}$")] | None
    ) = Field(
        None,
        description="the client id (a whole number) of your app"
        " (discord.com/developers -> your app -> OAuth2)",
    )
    discord_client_secret: Annotated[Secret, AfterValidator(_of_a_client)] | None = (
        Field(None, description="the client secret of the app of DISCORD_CLIENT_ID")
    )
    enrolment: Annotated[Enrolment, BeforeValidator(_lower)] = Field(
        Enrolment.OPEN, description="open, approve or closed"
    )
    discord_api_url: Annotated[str, AfterValidator(_http_url)] = Field(
        "https://discord.com/api/v10",
        description="an http or https address without a query",
    )
    log_level: Annotated[
        Literal["critical", "error", "warn", "info", "debug"],
        BeforeValidator(
            lambda text: {"warning": "warn"}.get(text := _lower(text), text)
        ),
    ] = Field("info", description="critical, error, warn, info or debug")
    log_format: Annotated[Literal["text", "json"], BeforeValidator(_lower)] = Field(
        "text", description="text or json"
    )
    metrics_token: Secret | None = Field(
        None, description="the token that /metrics wants, printable text"
    )


@dataclass(frozen=True, slots=True)
class EnvFile:
    """What an .env file holds, as far as it was understood."""

    understood: tuple[str, ...]
    unknown: tuple[str, ...]
    unreadable_lines: tuple[int, ...]


def load(env_file: str | None, defaults: Mapping[str, str] = {}) -> Settings:
    """Read the environment, then `env_file`; `defaults` fill what neither sets.

    :raises ConfigError: one line for each wrong variable, never its value.
    """
    environment = _set(os.environ)
    given = {
        name: value
        for name, value in _read(env_file).items()
        if f"{name}_FILE" not in environment
    }
    settings, wrong = _judge({**given, **environment}, defaults)
    if settings is None:
        raise ConfigError("\n".join(f"  {name} {why}" for name, why in wrong.items()))
    return settings


def judge(env_file: str) -> Mapping[str, str]:
    """Return what each wrong variable of a file should hold, the environment aside.

    :raises ConfigError: when the file cannot be read.
    """
    return _judge(_read(env_file), {})[1]


def examine(env_file: str) -> EnvFile:
    """Tell which names of a file are ours; judges no value.

    :raises ConfigError: when the file cannot be read.
    """
    _read(env_file)
    names: dict[str, bool] = {}
    unreadable: list[int] = []
    with Path(env_file).open(encoding="utf-8") as stream:
        for binding in parse_stream(stream):
            if binding.error or (binding.key and binding.value is None):
                unreadable.append(_line_of(binding))
            elif binding.key:
                names[binding.key] = binding.key in _KNOWN
    return EnvFile(
        tuple(name for name, known in names.items() if known),
        tuple(name for name, known in names.items() if not known),
        tuple(unreadable),
    )


def _judge(
    given: Mapping[str, str], defaults: Mapping[str, str]
) -> tuple[Settings | None, dict[str, str]]:
    values = {**defaults, **given}
    wrong: dict[str, str] = {}
    for name in _SECRETS:
        path = given.get(f"{name}_FILE")
        if path and name not in given:
            try:
                values[name] = Path(path).read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError) as e:
                why = e.strerror if isinstance(e, OSError) else "it is not text"
                wrong[f"{name}_FILE"] = f"names a file that cannot be read: {why}"
                values[name] = "unread"
    try:
        settings = Settings.model_validate(values)
    except ValidationError as e:
        for detail in e.errors(include_input=False):
            name = _as_set(str(detail["loc"][0]), values)
            wrong[name] = _should_hold(name)
        return None, wrong
    return (None if wrong else settings), wrong


def _set(values: Mapping[str, str | None]) -> dict[str, str]:
    """Leave out what is empty: `NAME=` means the same as no NAME."""
    bare = {name: (value or "").strip() for name, value in values.items()}
    return {name: value for name, value in bare.items() if value}


def _read(env_file: str | None) -> dict[str, str]:
    if env_file is None:
        return {}
    try:
        with Path(env_file).open(encoding="utf-8") as stream:
            return _set(dotenv_values(stream=stream, interpolate=False))
    except OSError as e:
        raise ConfigError(f"  {env_file} cannot be read: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise ConfigError(f"  {env_file} cannot be read: it is not UTF-8 text") from e


def _line_of(binding: Binding) -> int:
    """Return the line of the statement itself: what precedes it may be blank lines."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")


def _names_of(field: FieldInfo) -> tuple[str, ...]:
    match field.validation_alias:
        case AliasChoices(choices=choices):
            return tuple(str(choice) for choice in choices)
        case alias:
            return (str(alias),)


_FIELDS = {names: f for f in Settings.model_fields.values() for names in [_names_of(f)]}
_SECRETS = tuple(
    names[0]
    for names, field in _FIELDS.items()
    if not field.repr or "SecretStr" in str(field.annotation)
)
_KNOWN = frozenset(name for names in _FIELDS for name in names) | {
    f"{name}_FILE" for name in _SECRETS
}


def _as_set(env_name: str, given: Mapping[str, str]) -> str:
    """Return the name that the operator used, where a setting has an older one."""
    names = next((names for names in _FIELDS if env_name in names), (env_name,))
    return next((name for name in names if name in given), names[0])


def _should_hold(env_name: str) -> str:
    field = next(field for names, field in _FIELDS.items() if env_name in names)
    return f"should hold {field.description}"
