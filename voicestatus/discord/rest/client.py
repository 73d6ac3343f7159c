"""The client of Discord's HTTP API: what our bot asks, tells and changes."""

import math
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, Final, Self, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.ssl import Certificate
from twisted.web.iweb import IAgent

from voicestatus.core.ids import ChannelId, GuildId, RoleId, UserId
from voicestatus.discord.rest import invites, messages, scheduled_events, wire
from voicestatus.discord.rest.calls import Calls
from voicestatus.discord.rest.errors import DiscordRefused
from voicestatus.discord.rest.exchange import Request
from voicestatus.discord.rest.invites import MAX_AGE_MOST_S, Invite
from voicestatus.discord.rest.messages import Embed, Message, Rows
from voicestatus.discord.rest.oauth import OAuth
from voicestatus.discord.rest.ratelimit import Answer
from voicestatus.discord.rest.route import GATEWAY_BOT, Route
from voicestatus.discord.rest.scheduled_events import EventDraft, ScheduledEvent
from voicestatus.discord.rest.wire import (
    Application,
    Channel,
    GatewayBot,
    Guild,
    Member,
    OwnUser,
    Role,
    nothing,
    reading,
)

T = TypeVar("T")

HOME: Final = "https://github.com/voicestatus/voicestatus"
MESSAGES_MOST: Final = 100
MEMBERS_MOST: Final = 1000
_OF_INTERACTION: Final = "interaction"
_DEFERRED_UPDATE: Final = b'{"type":6}'


def user_agent(version: str) -> str:
    """Source: Discord docs, API Reference, "User Agent": others may be blocked."""
    return f"DiscordBot ({HOME}, {version})"


class RestClient:
    """Calls the API as our bot: within its limits, and never again after a 401.

    Of all its methods:

    :raises TokenRefused: and then at once for every further call.
    :raises DiscordRefused: on another refusal; `rest.errors` has a class for each that
        matters, such as `UnknownMember` or `MissingPermissions`.
    :raises DiscordUnreachable: after as many tries as make sense; `DiscordBusy` and
        `TooManyRefusals` say for how long.
    """

    def __init__(
        self,
        api_url: str,
        token: str,
        reactor: Any,
        *,
        version: str,
        jitter: Callable[[], float],
        monotonic: Callable[[], float],
        trust_root: Certificate | None = None,
        agent: IAgent | None = None,
        patience_s: float = math.inf,
        heard: Callable[[Answer], object] = lambda _: None,
    ) -> None:
        """Open nothing yet. `agent` stands in for the network in tests.

        A call that would have to pause beyond `patience_s` after its beginning is
        given up. `heard` gets every answer, whatever it says.
        """
        self._api_url, self._patience_s = api_url, patience_s
        self._authorization = f"Bot {token}"
        self._calls = Calls(
            api_url,
            reactor,
            user_agent=user_agent(version),
            jitter=jitter,
            monotonic=monotonic,
            trust_root=trust_root,
            agent=agent,
            heard=heard,
        )

    def within(self, patience_s: float) -> Self:
        """Return the same client, but with that much patience."""
        other = copy(self)
        other._patience_s = patience_s  # noqa: SLF001 - a copy of this very object
        return other

    def oauth(self, client_id: str, client_secret: str) -> OAuth:
        """Return what signs people in, within the same limits of this machine's IP."""
        return OAuth(
            self._calls, self._api_url, client_id, client_secret, self._patience_s
        )

    def close(self) -> Deferred[None]:
        """Let no call wait any more; fires when the idle connections are closed."""
        return self._calls.close()

    # -- the bot itself ----------------------------------------------------------

    async def gateway_bot(self) -> GatewayBot:
        """Ask where the Gateway is."""
        return await self._ask(wire.gateway_bot, GATEWAY_BOT)

    async def own_user(self) -> OwnUser:
        """Ask whose token it is."""
        return await self._ask(wire.own_user, Route.to("GET", "/users/@me"))

    async def application(self) -> Application:
        """Ask which application the bot belongs to."""
        route = Route.to("GET", "/applications/@me")
        return await self._ask(wire.application, route)

    async def own_guilds(self) -> tuple[GuildId, ...]:
        """Ask which guilds the bot is in; the first 200 of them."""
        return await self._ask(wire.own_guilds, Route.to("GET", "/users/@me/guilds"))

    # -- guilds ------------------------------------------------------------------

    async def guild(self, guild: GuildId) -> Guild:
        """Ask for one guild; refused where the bot is not in it."""
        route = Route.to("GET", "/guilds/{guild}", guild=guild)
        return await self._ask(wire.guild, route)

    async def channels(self, guild: GuildId) -> tuple[Channel, ...]:
        """Ask for a guild's channels; Discord may leave out what the bot cannot see."""
        route = Route.to("GET", "/guilds/{guild}/channels", guild=guild)
        return await self._ask(wire.channels, route)

    async def roles(self, guild: GuildId) -> tuple[Role, ...]:
        """Ask for a guild's roles; @everyone's id is the guild's."""
        route = Route.to("GET", "/guilds/{guild}/roles", guild=guild)
        return await self._ask(wire.roles, route)

    # -- members -----------------------------------------------------------------

    async def member(self, guild: GuildId, user: UserId) -> Member:
        """Ask for one member.

        :raises UnknownMember: when that user is not in the guild.
        """
        template = "/guilds/{guild}/members/{user}"
        route = Route.to("GET", template, guild=guild, user=user)
        return await self._ask(reading(Member), route)

    async def members(
        self, guild: GuildId, *, after: int = 0, limit: int = MEMBERS_MOST
    ) -> tuple[Member, ...]:
        """Ask for members by their ids, at most 1,000; needs the members' intent."""
        route = Route.to("GET", "/guilds/{guild}/members", guild=guild)
        query = {"limit": str(limit), "after": str(after)}
        return await self._ask(reading(tuple[Member, ...]), route, query=query)

    async def member_roles(self, guild: GuildId, user: UserId) -> tuple[int, ...]:
        """Ask which roles a member of a guild holds."""
        return (await self.member(guild, user)).roles

    async def give_role(
        self, guild: GuildId, user: UserId, role: RoleId, *, reason: str | None = None
    ) -> None:
        """Give a member a role that is below the bot's own and not managed."""
        await self._change_role("PUT", guild, user, role, reason)

    async def take_role(
        self, guild: GuildId, user: UserId, role: RoleId, *, reason: str | None = None
    ) -> None:
        """Take a role from a member."""
        await self._change_role("DELETE", guild, user, role, reason)

    # -- messages ----------------------------------------------------------------

    async def messages(
        self, channel: ChannelId, *, limit: int = MESSAGES_MOST
    ) -> tuple[Message, ...]:
        """Ask for the newest messages, the newest first.

        There are none where the bot may see the channel but not read its history.
        """
        route = Route.to("GET", "/channels/{channel}/messages", channel=channel)
        return await self._ask(
            reading(tuple[Message, ...]), route, query={"limit": str(limit)}
        )

    async def message(self, channel: ChannelId, message: int) -> Message:
        """Ask for one message."""
        return await self._ask(reading(Message), _message("GET", channel, message))

    async def create_message(
        self,
        channel: ChannelId,
        content: str = "",
        *,
        embeds: Sequence[Embed] = (),
        rows: Rows = (),
        nonce: str | None = None,
    ) -> Message:
        """Write a message that pings nobody.

        With a `nonce` of at most 25 characters it is written once, however often it is
        asked for within minutes; and so it is asked for again when nobody answers.
        """
        route = Route.to("POST", "/channels/{channel}/messages", channel=channel)
        body = messages.draft(content, embeds, rows, nonce=nonce)
        return await self._ask(
            reading(Message), route, body=body, once=nonce is not None
        )

    async def edit_message(
        self,
        channel: ChannelId,
        message: int,
        content: str | None = None,
        *,
        embeds: Sequence[Embed] | None = None,
        rows: Rows | None = None,
    ) -> Message:
        """Change a message of the bot; what is None stays.

        :raises UnknownMessage: when it was deleted.
        """
        body = messages.draft(content, embeds, rows)
        return await self._ask(
            reading(Message), _message("PATCH", channel, message), body=body
        )

    async def delete_message(
        self, channel: ChannelId, message: int, *, reason: str | None = None
    ) -> None:
        """Delete a message."""
        await self._ask(nothing, _message("DELETE", channel, message), reason=reason)

    # -- invites -----------------------------------------------------------------

    async def create_invite(
        self,
        channel: ChannelId,
        *,
        max_age_s: int = MAX_AGE_MOST_S,
        max_uses: int = 0,
        unique: bool = False,
        reason: str | None = None,
    ) -> Invite:
        """Make an invite, or without `unique` get one that is the same already."""
        route = Route.to("POST", "/channels/{channel}/invites", channel=channel)
        body = invites.order(max_age_s, max_uses, unique=unique)
        return await self._ask(_made_invite, route, body=body, reason=reason)

    async def invite(self, code: str) -> Invite:
        """Ask whether an invite still stands.

        :raises UnknownInvite: when it does not.
        """
        return await self._ask(
            reading(Invite), Route.to("GET", "/invites/{code}", code=code)
        )

    async def channel_invites(self, channel: ChannelId) -> tuple[Invite, ...]:
        """Ask for a channel's invites; needs Manage Channels."""
        route = Route.to("GET", "/channels/{channel}/invites", channel=channel)
        return await self._ask(reading(tuple[Invite, ...]), route)

    async def delete_invite(self, code: str, *, reason: str | None = None) -> None:
        """Take an invite back; needs Manage Channels."""
        route = Route.to("DELETE", "/invites/{code}", code=code)
        await self._ask(nothing, route, reason=reason)

    # -- scheduled events --------------------------------------------------------

    async def scheduled_events(self, guild: GuildId) -> tuple[ScheduledEvent, ...]:
        """Ask for those that have not ended and that the bot can see."""
        route = Route.to("GET", "/guilds/{guild}/scheduled-events", guild=guild)
        return await self._ask(reading(tuple[ScheduledEvent, ...]), route)

    async def create_scheduled_event(
        self, guild: GuildId, draft: EventDraft, *, reason: str | None = None
    ) -> ScheduledEvent:
        """Make an event; needs Create Events."""
        route = Route.to("POST", "/guilds/{guild}/scheduled-events", guild=guild)
        body = scheduled_events.body(draft, new=True)
        return await self._ask(reading(ScheduledEvent), route, body=body, reason=reason)

    async def edit_scheduled_event(
        self,
        guild: GuildId,
        event: int,
        draft: EventDraft,
        *,
        reason: str | None = None,
    ) -> ScheduledEvent:
        """Change an event; its status starts, ends or cancels it."""
        body = scheduled_events.body(draft, new=False)
        route = _event("PATCH", guild, event)
        return await self._ask(reading(ScheduledEvent), route, body=body, reason=reason)

    async def delete_scheduled_event(self, guild: GuildId, event: int) -> None:
        """Delete an event."""
        await self._ask(nothing, _event("DELETE", guild, event))

    # -- interactions ------------------------------------------------------------

    async def acknowledge(self, interaction: int, token: str) -> None:
        """Say within 3 seconds that the press of a button was heard; nothing is seen.

        :raises UnknownInteraction: when it was too late.
        """
        template = "/interactions/{interaction}/{token}/callback"
        route = Route.to("POST", template, interaction=interaction, token=token)
        await self._of_interaction(route, _DEFERRED_UPDATE)

    async def tell_presser(
        self,
        application: int,
        token: str,
        content: str,
        *,
        embeds: Sequence[Embed] = (),
    ) -> None:
        """Show who pressed a button, and nobody else, a message; for 15 minutes."""
        template = "/webhooks/{webhook}/{token}"
        route = Route.to("POST", template, webhook=application, token=token)
        body = messages.draft(content, embeds, ephemeral=True)
        await self._of_interaction(route, body)

    # -- inside ------------------------------------------------------------------

    async def _change_role(
        self, method: str, guild: GuildId, user: UserId, role: RoleId, why: str | None
    ) -> None:
        template = "/guilds/{guild}/members/{user}/roles/{role}"
        route = Route.to(method, template, guild=guild, user=user, role=role)
        await self._ask(nothing, route, reason=why)

    async def _of_interaction(self, route: Route, body: bytes) -> None:
        # The token in the path is all the authorization there is.
        request = Request(route, body=body, who=_OF_INTERACTION)
        await self._calls.ask(request, nothing, self._patience_s)

    async def _ask(
        self,
        read: Callable[[Route, bytes], T],
        route: Route,
        *,
        query: dict[str, str] | None = None,
        body: bytes | None = None,
        once: bool = False,
        reason: str | None = None,
    ) -> T:
        request = Request(
            route,
            query or {},
            body,
            authorization=self._authorization,
            reason=reason,
            once=once,
        )
        return await self._calls.ask(request, read, self._patience_s)


def _message(method: str, channel: ChannelId, message: int) -> Route:
    template = "/channels/{channel}/messages/{message}"
    return Route.to(method, template, channel=channel, message=message)


def _event(method: str, guild: GuildId, event: int) -> Route:
    template = "/guilds/{guild}/scheduled-events/{event}"
    return Route.to(method, template, guild=guild, event=event)


def _made_invite(route: Route, body: bytes) -> Invite:
    if not body:  # 204: seen by implementers where a guild has paused its invites
        raise DiscordRefused(204, 0, "the server has paused its invites")
    return wire.read(route, body, Invite)
