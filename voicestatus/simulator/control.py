"""`/_control`: how a test moves people and breaks things."""

import re
from http import HTTPStatus
from typing import BinaryIO, TypeVar

import msgspec
from klein import Klein
from msgspec import UNSET, Struct, UnsetType
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.iweb import IRequest
from werkzeug.exceptions import HTTPException

from voicestatus.simulator.payloads import VOICE, encode
from voicestatus.simulator.stage import Stage
from voicestatus.simulator.world import RefusedError, Voice

Id = str | int


class VoiceOrder(Struct, forbid_unknown_fields=True, rename="camel"):
    guild: Id
    user: Id
    channel: Id | UnsetType | None = UNSET
    mute: bool | None = None
    deaf: bool | None = None
    self_mute: bool | None = None
    self_deaf: bool | None = None
    self_stream: bool | None = None
    bot: bool = False
    name: str | None = None


class GuildOrder(Struct, forbid_unknown_fields=True, rename="camel"):
    id: Id
    name: str | None = None
    members: int = 0
    in_voice: int = 0


class ChannelOrder(Struct, forbid_unknown_fields=True):
    guild: Id
    id: Id | None = None
    name: str | None = None
    type: int = VOICE


class MemberOrder(Struct, forbid_unknown_fields=True):
    guild: Id
    user: Id
    present: bool = True
    name: str | None = None
    bot: bool = False
    roles: list[Id] | None = None
    nick: str | None = None
    avatar: str | None = None


class MessageOrder(Struct, forbid_unknown_fields=True):
    """A new one by `user`; with `id` a change of that one, or its end."""

    channel: Id
    user: Id | None = None
    content: str = ""
    id: Id | None = None
    delete: bool = False


class PressOrder(Struct, forbid_unknown_fields=True, rename="camel"):
    channel: Id
    message: Id
    user: Id
    custom_id: str


class SignInOrder(Struct, forbid_unknown_fields=True):
    user: Id | None = None
    consent: bool = True


class FaultOrder(Struct, forbid_unknown_fields=True):
    kind: str
    count: int = 1
    code: int | None = None
    resumable: bool = False
    guild: Id | None = None
    shard: int | None = None
    route: str = ""
    seconds: float = 1.0
    scope: str = "user"


Order = TypeVar("Order")


class Control:
    """The controls, as HTTP; `Stage` does what they say."""

    app = Klein()

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    @app.route("/voice", methods=["POST"])
    def voice(self, request: Request) -> bytes:
        order = _read(request, VoiceOrder)
        seq = self._stage.voice(
            _id("guild", order.guild),
            _id("user", order.user),
            order.channel
            if order.channel is None or order.channel is UNSET
            else _id("channel", order.channel),
            Voice(
                order.mute,
                order.deaf,
                order.self_mute,
                order.self_deaf,
                order.self_stream,
            ),
            bot=order.bot,
            name=order.name,
        )
        return _reply(request, {"seq": seq})

    @app.route("/guilds", methods=["POST"])
    def add_guild(self, request: Request) -> bytes:
        order = _read(request, GuildOrder)
        guild = _id("id", order.id)
        seq = self._stage.add_guild(guild, order.name, order.members, order.in_voice)
        return _reply(request, {"seq": seq, "id": str(guild)})

    @app.route("/guilds/<guild>", methods=["DELETE"])
    def remove_guild(self, request: Request, guild: str) -> bytes:
        seq = self._stage.remove_guild(_id("guild", guild))
        return _reply(request, {"seq": seq})

    @app.route("/channels", methods=["POST"])
    def add_channel(self, request: Request) -> bytes:
        order = _read(request, ChannelOrder)
        channel = None if order.id is None else _id("id", order.id)
        seq, made = self._stage.add_channel(
            _id("guild", order.guild), channel, order.name, order.type
        )
        return _reply(request, {"seq": seq, "id": str(made)})

    @app.route("/channels/<channel>", methods=["DELETE"])
    def remove_channel(self, request: Request, channel: str) -> bytes:
        seq = self._stage.remove_channel(_id("channel", channel))
        return _reply(request, {"seq": seq})

    @app.route("/members", methods=["POST"])
    def members(self, request: Request) -> bytes:
        order = _read(request, MemberOrder)
        guild, user = _id("guild", order.guild), _id("user", order.user)
        seq = (
            self._stage.meet(guild, user, order.name, bot=order.bot)
            if order.present
            else self._stage.dismiss(guild, user)
        )
        changes = order.roles, order.nick, order.avatar
        if order.present and changes != (None, None, None):
            roles = None
            if order.roles is not None:
                roles = tuple(_id("roles", role) for role in order.roles)
            seq = self._stage.change_member(
                guild, user, roles, order.nick, order.avatar
            )
        return _reply(request, {"seq": seq})

    @app.route("/messages", methods=["POST"])
    def messages(self, request: Request) -> bytes:
        order = _read(request, MessageOrder)
        channel = _id("channel", order.channel)
        if order.id is None:
            user = _id("user", "" if order.user is None else order.user)
            seq, message = self._stage.write(channel, user, order.content)
        else:
            message = _id("id", order.id)
            seq = (
                self._stage.wipe(channel, message)
                if order.delete
                else self._stage.rewrite(channel, message, order.content)
            )
        return _reply(request, {"seq": seq, "id": str(message)})

    @app.route("/interactions", methods=["POST"])
    def interactions(self, request: Request) -> bytes:
        order = _read(request, PressOrder)
        seq, press = self._stage.press(
            _id("channel", order.channel),
            _id("message", order.message),
            _id("user", order.user),
            order.custom_id,
        )
        return _reply(request, {"seq": seq, "id": str(press)})

    @app.route("/sign_in", methods=["POST"])
    def sign_in(self, request: Request) -> bytes:
        order = _read(request, SignInOrder)
        user = None if order.user is None else _id("user", order.user)
        self._stage.browse(user, consents=order.consent)
        return _reply(request, {"ok": True})

    @app.route("/fault", methods=["POST"])
    def fault(self, request: Request) -> bytes:
        order = _read(request, FaultOrder)
        self._stage.fault(
            order.kind,
            count=order.count,
            code=order.code,
            resumable=order.resumable,
            guild=None if order.guild is None else _id("guild", order.guild),
            shard=order.shard,
            route=order.route,
            seconds=order.seconds,
            scope=order.scope,
        )
        return _reply(request, {"ok": True})

    @app.route("/log", methods=["GET"])
    def log(self, request: Request) -> bytes:
        since = (request.args or {}).get(b"since", [b"0"])[0].decode("ascii", "replace")
        return _reply(request, self._stage.log.since(_id("since", since)))

    @app.route("/state", methods=["GET"])
    def state(self, request: Request) -> bytes:
        return _reply(request, self._stage.world.state())

    @app.handle_errors(RefusedError)
    def refuse(self, request: IRequest, failure: Failure) -> bytes:
        error = failure.value
        assert isinstance(error, RefusedError)  # noqa: S101 - for mypy: Klein matched it
        return _reply(
            request,
            {"error": {"field": error.field, "message": str(error)}},
            HTTPStatus.BAD_REQUEST,
        )

    @app.handle_errors(HTTPException)
    def no_such_control(self, request: IRequest, failure: Failure) -> bytes:
        error = failure.value
        assert isinstance(error, HTTPException)  # noqa: S101 - for mypy, as above
        return _reply(
            request,
            {"error": {"field": None, "message": f"{request.path!r}: {error.name}"}},
            error.code or HTTPStatus.NOT_FOUND,
        )


def _read(request: Request, order: type[Order]) -> Order:
    """:raises RefusedError: naming the field that is missing, unknown or wrong."""
    try:
        return msgspec.json.decode(_body(request), type=order)
    except msgspec.ValidationError as e:
        text = str(e)
        at = re.search(r"`\$\.(\w+)", text) or re.search(r"field `(\w+)`", text)
        raise RefusedError(at[1] if at else "body", text) from e
    except msgspec.DecodeError as e:
        raise RefusedError("body", f"not JSON: {e}") from e


def _body(request: Request) -> bytes:
    content: BinaryIO | None = request.content
    return b"" if content is None else content.read()


def _id(name: str, given: Id) -> int:
    """:raises RefusedError: when it is no id."""
    text = str(given)
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise RefusedError(name, f"{given!r} is not an id (decimal digits)")
    return int(text)


def _reply(request: Request | IRequest, body: object, status: int = 200) -> bytes:
    request.setResponseCode(status)
    request.setHeader("content-type", "application/json")
    return encode(body)
