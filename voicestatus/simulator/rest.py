"""Discord's REST API, as far as bots need it to log in and to look around."""

import hmac
import math
from http import HTTPStatus

from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.iweb import IRequest
from werkzeug.exceptions import HTTPException

from voicestatus.core.errors import VoiceStatusError
from voicestatus.simulator import permissions
from voicestatus.simulator.buckets import LIMIT, Buckets
from voicestatus.simulator.faults import Faults, RestFault
from voicestatus.simulator.log import ClientLog
from voicestatus.simulator.payloads import Guild, Json, Member, encode
from voicestatus.simulator.sessions import Sessions
from voicestatus.simulator.world import World

UNKNOWN_CHANNEL, UNKNOWN_GUILD, UNKNOWN_MEMBER, UNKNOWN_USER = (
    (10003, "Unknown Channel"),
    (10004, "Unknown Guild"),
    (10007, "Unknown Member"),
    (10013, "Unknown User"),
)
UNKNOWN_VOICE_STATE = (10065, "Unknown Voice State")
AnyRequest = Request | IRequest
HTML_ERROR = b"<html><head><title>%d</title></head></html>"


class RestError(VoiceStatusError):
    """A refusal as Discord words it: JSON."""

    content_type = "application/json"

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers: dict[str, str] = {}
        self.body = encode({"message": message, "code": code})


class LimitError(RestError):
    """429: too many calls."""

    def __init__(self, retry_after_s: float, bucket: str | None) -> None:
        message = "You are being rate limited."
        super().__init__(HTTPStatus.TOO_MANY_REQUESTS, 0, message)
        self.body = encode(
            {"message": message, "retry_after": retry_after_s, "global": False}
        )
        self.headers = {
            "Retry-After": str(math.ceil(retry_after_s)),
            "X-RateLimit-Limit": str(LIMIT),
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset-After": f"{retry_after_s:.3f}",
            "X-RateLimit-Scope": "user",
        }
        if bucket is not None:
            self.headers["X-RateLimit-Bucket"] = bucket


class ProxyError(RestError):
    """What stands in front of Discord answers instead: HTML."""

    content_type = "text/html"

    def __init__(self, status: int) -> None:
        super().__init__(status, 0, str(status))
        self.body = HTML_ERROR % status


class Rest:
    """`/api/v10`."""

    app = Klein()

    def __init__(
        self,
        world: World,
        sessions: Sessions,
        log: ClientLog,
        faults: Faults,
        clock: IReactorTime,
        *,
        secure: bool,
    ) -> None:
        self._world, self._sessions, self._log = world, sessions, log
        self._faults, self._clock, self._secure = faults, clock, secure
        self._buckets = Buckets()

    # -- the gateway, the bot itself ---------------------------------------------

    @app.route("/gateway", methods=["GET"])
    def gateway(self, request: Request) -> bytes:
        self._admit(request, "/gateway", anonymous=True)
        return self._reply(request, {"url": self._gateway_url(request)})

    @app.route("/gateway/bot", methods=["GET"])
    def gateway_bot(self, request: Request) -> bytes:
        self._admit(request, "/gateway/bot")
        limit = self._sessions.start_limit(self._clock.seconds())
        return self._reply(
            request,
            {
                "url": self._gateway_url(request),
                "shards": self._sessions.rules.recommended_shards(
                    len(self._world.guilds)
                ),
                "session_start_limit": limit,
            },
        )

    @app.route("/users/@me", methods=["GET"])
    def users_me(self, request: Request) -> bytes:
        self._admit(request, "/users/@me")
        return self._reply(request, self._world.bot.own_payload() | {"locale": "en-US"})

    @app.route("/users/@me/guilds", methods=["GET"])
    def users_me_guilds(self, request: Request) -> bytes:
        self._admit(request, "/users/@me/guilds")
        bot = self._world.bot.id
        guilds: list[Json] = [
            {
                "id": str(guild.id),
                "name": guild.name,
                "icon": None,
                "banner": None,
                "owner": guild.owner == bot,
                "permissions": str(permissions.of(guild, bot)),
                "features": [],
            }
            for guild in self._world.guilds.values()
        ]
        return self._reply(request, guilds)

    @app.route("/users/<int:user>", methods=["GET"])
    def users(self, request: Request, user: int) -> bytes:
        self._admit(request, "/users/:id")
        if user not in self._world.users:
            raise RestError(404, *UNKNOWN_USER)
        return self._reply(request, self._world.users[user].payload())

    @app.route("/applications/@me", methods=["GET"])
    @app.route("/oauth2/applications/@me", methods=["GET"])
    def application(self, request: Request) -> bytes:
        self._admit(request, "/oauth2/applications/@me")
        bot = self._world.bot
        owner = next(user for user in self._world.users.values() if not user.bot)
        return self._reply(
            request,
            {
                "id": str(bot.id),
                "name": bot.name,
                "icon": None,
                "description": "",
                "summary": "",
                "type": None,
                "bot": bot.payload(),
                "owner": owner.payload(),
                "bot_public": True,
                "bot_require_code_grant": False,
                "verify_key": "0" * 64,
                "flags": self._sessions.rules.application_flags,
                "hook": True,
                "team": None,
                "tags": [],
                "redirect_uris": [],
                "interactions_endpoint_url": None,
                "role_connections_verification_url": None,
                "approximate_guild_count": len(self._world.guilds),
                "approximate_user_install_count": 0,
            },
        )

    # -- guilds ------------------------------------------------------------------

    @app.route("/guilds/<int:guild>", methods=["GET"])
    def guild(self, request: Request, guild: int) -> bytes:
        self._admit(request, "/guilds/:id", guild)
        home = self._guild(guild)
        shown = home.payload() | {
            "nsfw": False,
            "home_header": None,
            "region": "deprecated",
            "widget_enabled": False,
            "widget_channel_id": None,
        }
        if (request.args or {}).get(b"with_counts") == [b"true"]:
            shown["approximate_member_count"] = len(home.members)
            shown["approximate_presence_count"] = max(1, len(home.voice))
        return self._reply(request, shown)

    @app.route("/guilds/<int:guild>/channels", methods=["GET"])
    def channels(self, request: Request, guild: int) -> bytes:
        self._admit(request, "/guilds/:id/channels", guild)
        # Since November 2026 what the bot cannot see is left out.
        channels = permissions.visible(self._guild(guild), self._world.bot.id)
        return self._reply(request, [channel.payload() for channel in channels])

    @app.route("/guilds/<int:guild>/roles", methods=["GET"])
    def roles(self, request: Request, guild: int) -> bytes:
        self._admit(request, "/guilds/:id/roles", guild)
        roles = self._guild(guild).roles
        return self._reply(request, [role.payload() for role in roles])

    @app.route("/guilds/<int:guild>/members", methods=["GET"])
    def members(self, request: Request, guild: int) -> bytes:
        self._admit(request, "/guilds/:id/members", guild)
        home, after = self._guild(guild), self._number(request, b"after", 0)
        limit = min(self._number(request, b"limit", 1), 1000)
        users = sorted(user for user in home.members if user > after)[:limit]
        return self._reply(request, [home.members[user].payload() for user in users])

    @app.route("/guilds/<int:guild>/members/<int:user>", methods=["GET"])
    def member(self, request: Request, guild: int, user: int) -> bytes:
        self._admit(request, "/guilds/:id/members/:id", guild)
        return self._reply(request, self._member(guild, user).payload())

    @app.route("/guilds/<int:guild>/voice-states/@me", methods=["GET"])
    def own_voice_state(self, request: Request, guild: int) -> bytes:
        return self.voice_state(request, guild, self._world.bot.id)

    @app.route("/guilds/<int:guild>/voice-states/<int:user>", methods=["GET"])
    def voice_state(self, request: Request, guild: int, user: int) -> bytes:
        self._admit(request, "/guilds/:id/voice-states/:id", guild)
        home = self._guild(guild)
        state = home.voice.get(user)
        if state is None:
            raise RestError(404, *UNKNOWN_VOICE_STATE)
        return self._reply(request, home.voice_payload(user, state, state.channel))

    @app.route("/guilds/<int:guild>/scheduled-events", methods=["GET"])
    def scheduled_events(self, request: Request, guild: int) -> bytes:
        self._admit(request, "/guilds/:id/scheduled-events", guild)
        self._guild(guild)
        return self._reply(request, [])

    @app.route("/channels/<int:channel>", methods=["GET"])
    def channel(self, request: Request, channel: int) -> bytes:
        self._admit(request, "/channels/:id", channel)
        for guild in self._world.guilds.values():
            if channel in guild.channels:
                return self._reply(request, guild.channels[channel].payload())
        raise RestError(404, *UNKNOWN_CHANNEL)

    # -- refusals ----------------------------------------------------------------

    @app.handle_errors(RestError)
    def refuse(self, request: IRequest, failure: Failure) -> bytes:
        error = failure.value
        assert isinstance(error, RestError)  # noqa: S101 - for mypy: Klein matched it
        for name, value in error.headers.items():
            request.setHeader(name, value)
        return self._answer(request, error.status, error.content_type, error.body)

    @app.handle_errors(HTTPException)
    def no_such_route(self, request: IRequest, failure: Failure) -> bytes:
        error = failure.value
        assert isinstance(error, HTTPException)  # noqa: S101 - for mypy, as above
        status = error.code or HTTPStatus.NOT_FOUND
        body: Json = {"message": f"{status}: {error.name}", "code": 0}
        return self._reply(request, body, status)

    # -- inside ------------------------------------------------------------------

    def _admit(
        self, request: Request, route: str, major: int = 0, *, anonymous: bool = False
    ) -> None:
        """Let a call through faults, token check and rate limit, in this order."""
        fault = self._faults.take_rest(request.path.decode("ascii", "replace"))
        if fault is not None:
            self._fail(fault)
        if not anonymous:
            scheme, _, token = (request.getHeader("authorization") or "").partition(" ")
            known = self._sessions.rules.knows(token)
            if not hmac.compare_digest(scheme.encode(), b"Bot") or not known:
                raise RestError(401, 0, "401: Unauthorized")
        now = self._clock.seconds()
        grant = self._buckets.take(f"GET {route}", str(major), now)
        if not grant.allowed:
            raise LimitError(round(grant.reset_after_s, 3), grant.bucket)
        request.setHeader("x-ratelimit-limit", str(LIMIT))
        request.setHeader("x-ratelimit-remaining", str(grant.remaining))
        request.setHeader("x-ratelimit-reset", f"{now + grant.reset_after_s:.3f}")
        request.setHeader("x-ratelimit-reset-after", f"{grant.reset_after_s:.3f}")
        request.setHeader("x-ratelimit-bucket", grant.bucket)

    @staticmethod
    def _fail(fault: RestFault) -> None:
        if fault.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise LimitError(fault.retry_after_s, None)
        if fault.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise ProxyError(fault.status)
        phrase = HTTPStatus(fault.status).phrase
        raise RestError(fault.status, 0, f"{fault.status}: {phrase}")

    def _guild(self, guild: int) -> Guild:
        if guild not in self._world.guilds:
            raise RestError(404, *UNKNOWN_GUILD)
        return self._world.guilds[guild]

    def _member(self, guild: int, user: int) -> Member:
        members = self._guild(guild).members
        if user not in members:
            known = user in self._world.users
            raise RestError(404, *(UNKNOWN_MEMBER if known else UNKNOWN_USER))
        return members[user]

    @staticmethod
    def _number(request: Request, name: bytes, default: int) -> int:
        text = (request.args or {}).get(name, [b""])[0]
        return int(text) if text.isdigit() else default

    def _gateway_url(self, request: Request) -> str:
        scheme = "wss" if self._secure else "ws"
        return f"{scheme}://{request.getHeader('host') or 'localhost'}/gateway"

    def _reply(self, request: AnyRequest, body: object, status: int = 200) -> bytes:
        return self._answer(request, status, "application/json", encode(body))

    def _answer(
        self, request: AnyRequest, status: int, content_type: str, body: bytes
    ) -> bytes:
        self._log.add(
            self._clock.seconds(),
            "rest",
            method=request.method.decode("ascii", "replace"),
            path=request.path.decode("ascii", "replace"),
            status=int(status),
        )
        request.setResponseCode(status)
        request.setHeader("content-type", content_type)
        return body
