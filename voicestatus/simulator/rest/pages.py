"""`/api/v10`: the bot itself, and the way to the other pages."""

from klein.resource import KleinResource
from twisted.web.http import Request

from voicestatus.simulator import permissions
from voicestatus.simulator.community import Community
from voicestatus.simulator.payloads import Json
from voicestatus.simulator.rest.channels import ChannelPages, InvitePages
from voicestatus.simulator.rest.door import Door, HasDoor, app_of_pages
from voicestatus.simulator.rest.guilds import GuildPages
from voicestatus.simulator.rest.interactions import InteractionPages, WebhookPages
from voicestatus.simulator.rest.oauth import OAuthPages
from voicestatus.simulator.rest.refusals import UNKNOWN_USER, RestError


class Rest(HasDoor):
    """All pages."""

    app = app_of_pages()

    def __init__(self, door: Door, community: Community) -> None:
        super().__init__(door)
        self._guilds = GuildPages(door, community.events).app.resource()
        self._channels = ChannelPages(door, community).app.resource()
        self._invites = InvitePages(door, community.invites).app.resource()
        self._oauth = OAuthPages(door).app.resource()
        self._interactions = InteractionPages(door, community).app.resource()
        self._webhooks = WebhookPages(door, community.presses).app.resource()

    # -- other pages -------------------------------------------------------------

    @app.route("/guilds/", branch=True)
    def guilds(self, _: Request) -> KleinResource:
        return self._guilds

    @app.route("/channels/", branch=True)
    def channels(self, _: Request) -> KleinResource:
        return self._channels

    @app.route("/invites/", branch=True)
    def invites(self, _: Request) -> KleinResource:
        return self._invites

    @app.route("/oauth2/", branch=True)
    def oauth2(self, _: Request) -> KleinResource:
        return self._oauth

    @app.route("/interactions/", branch=True)
    def interactions(self, _: Request) -> KleinResource:
        return self._interactions

    @app.route("/webhooks/", branch=True)
    def webhooks(self, _: Request) -> KleinResource:
        return self._webhooks

    # -- the gateway -------------------------------------------------------------

    @app.route("/gateway", methods=["GET"])
    def gateway(self, request: Request) -> bytes:
        self.door.admit_anyone(request, "/gateway")
        return self.door.reply(request, {"url": self._gateway_url(request)})

    @app.route("/gateway/bot", methods=["GET"])
    def gateway_bot(self, request: Request) -> bytes:
        self.door.admit(request, "/gateway/bot")
        sessions, world = self.door.sessions, self.door.world
        return self.door.reply(
            request,
            {
                "url": self._gateway_url(request),
                "shards": sessions.rules.recommended_shards(len(world.guilds)),
                "session_start_limit": sessions.start_limit(self.door.clock.seconds()),
            },
        )

    # -- users -------------------------------------------------------------------

    @app.route("/users/@me", methods=["GET"])
    def users_me(self, request: Request) -> bytes:
        caller = self.door.admit(request, "/users/@me", scope="identify")
        user = self.door.world.users[caller.user]
        if caller.scopes is None:
            return self.door.reply(request, user.own_payload() | {"locale": "en-US"})
        more: Json = {
            "mfa_enabled": False,
            "locale": "en-US",
            "premium_type": 0,
            "flags": 0,
        }
        return self.door.reply(request, user.payload() | more)

    @app.route("/users/@me/guilds", methods=["GET"])
    def users_me_guilds(self, request: Request) -> bytes:
        me = self.door.admit(request, "/users/@me/guilds", scope="guilds").user
        guilds: list[Json] = [
            {
                "id": str(guild.id),
                "name": guild.name,
                "icon": None,
                "banner": None,
                "owner": guild.owner == me,
                "permissions": str(permissions.of(guild, me)),
                "features": [],
            }
            for guild in self.door.world.guilds.values()
            if me in guild.members
        ]
        return self.door.reply(request, guilds)

    @app.route("/users/@me/guilds/<int:guild>/member", methods=["GET"])
    def users_me_member(self, request: Request, guild: int) -> bytes:
        route, scope = "/users/@me/guilds/:id/member", "guilds.members.read"
        me = self.door.admit(request, route, guild, scope=scope).user
        return self.door.reply(request, self.door.member(guild, me).payload())

    @app.route("/users/<int:user>", methods=["GET"])
    def users(self, request: Request, user: int) -> bytes:
        self.door.admit(request, "/users/:id")
        if user not in self.door.world.users:
            raise RestError(*UNKNOWN_USER)
        return self.door.reply(request, self.door.world.users[user].payload())

    # -- the application ---------------------------------------------------------

    @app.route("/applications/@me", methods=["GET"])
    @app.route("/oauth2/applications/@me", methods=["GET"])
    def application(self, request: Request) -> bytes:
        self.door.admit(request, "/oauth2/applications/@me")
        world = self.door.world
        owner = next(user for user in world.users.values() if not user.bot)
        return self.door.reply(
            request,
            {
                "id": str(world.bot.id),
                "name": world.bot.name,
                "icon": None,
                "description": "",
                "summary": "",
                "type": None,
                "bot": world.bot.payload(),
                "owner": owner.payload(),
                "bot_public": True,
                "bot_require_code_grant": False,
                "verify_key": "0" * 64,
                "flags": self.door.sessions.rules.application_flags,
                "hook": True,
                "team": None,
                "tags": [],
                "redirect_uris": [],
                "interactions_endpoint_url": None,
                "role_connections_verification_url": None,
                "approximate_guild_count": len(world.guilds),
                "approximate_user_install_count": 0,
            },
        )

    def _gateway_url(self, request: Request) -> str:
        scheme = "wss" if self.door.secure else "ws"
        return f"{scheme}://{request.getHeader('host') or 'localhost'}/gateway"
