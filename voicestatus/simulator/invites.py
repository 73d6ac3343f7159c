"""Invites of the guilds, and what Discord tells of them. Pure.

Source: Discord docs, Invite, and Gateway Events, "Invites".
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from voicestatus.simulator import permissions
from voicestatus.simulator.payloads import Channel, Guild, Json, encode
from voicestatus.simulator.world import Dispatch, World

MOST = 1000
"""In a guild."""
_GUILD_FIELDS = (
    "id", "name", "splash", "banner", "description", "icon", "features",
    "verification_level", "vanity_url_code", "nsfw_level", "premium_subscription_count",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Terms:
    """How long and how often an invite is good; 0: without end."""

    max_age: int = 86_400
    max_uses: int = 0
    temporary: bool = False


@dataclass(frozen=True, slots=True)
class Invite:
    """One invite."""

    code: str
    channel: int
    inviter: int
    created: datetime
    terms: Terms

    @property
    def expires(self) -> datetime | None:
        return (
            self.created + timedelta(seconds=self.terms.max_age)
            if self.terms.max_age
            else None
        )


class Invites:
    """All invites that stand."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._invites: dict[str, Invite] = {}

    def of_channel(self, channel: int, now: datetime) -> list[Invite]:
        """List those that stand."""
        self._expire(now)
        return [each for each in self._invites.values() if each.channel == channel]

    def of_guild(self, guild: Guild, now: datetime) -> list[Invite]:
        """List those that stand."""
        self._expire(now)
        return [
            each for each in self._invites.values() if each.channel in guild.channels
        ]

    def find(self, code: str, now: datetime) -> Invite | None:
        """Look one up."""
        self._expire(now)
        return self._invites.get(code)

    def make(
        self, channel: Channel, inviter: int, terms: Terms, now: datetime
    ) -> tuple[Invite, list[Dispatch]]:
        """Make an invite."""
        seed = str(self._world.new_id()).encode()
        code = hashlib.blake2b(seed, digest_size=4).hexdigest()
        invite = self._invites[code] = Invite(code, channel.id, inviter, now, terms)
        body = self.payload(invite) | {"channel_id": str(channel.id)}
        return invite, self._told(channel, "INVITE_CREATE", body)

    def delete(self, invite: Invite) -> list[Dispatch]:
        """It is good no more."""
        del self._invites[invite.code]
        channel = self._world.channel(invite.channel)
        body: Json = {
            "code": invite.code,
            "channel_id": str(channel.id),
            "guild_id": str(channel.guild),
        }
        return self._told(channel, "INVITE_DELETE", body)

    def payload(self, invite: Invite, *, uses: bool = True) -> Json:
        """As REST shows it, with `uses` to who made it or may manage it."""
        channel = self._world.channel(invite.channel)
        home = self._world.guild(channel.guild).payload()
        shown: Json = {
            "type": 0,
            "code": invite.code,
            "expires_at": invite.expires.isoformat() if invite.expires else None,
            "guild": {name: home[name] for name in _GUILD_FIELDS} | {"nsfw": False},
            "guild_id": str(channel.guild),
            "channel": {
                "id": str(channel.id),
                "name": channel.name,
                "type": channel.type,
            },
            "inviter": self._world.users[invite.inviter].payload() | {"flags": 0},
            "flags": 0,
        }
        if not uses:
            return shown
        return shown | {
            "uses": 0,
            "max_uses": invite.terms.max_uses,
            "max_age": invite.terms.max_age,
            "temporary": invite.terms.temporary,
            "created_at": invite.created.isoformat(),
        }

    def _expire(self, now: datetime) -> None:
        """Those whose time or channel is gone are told to nobody."""
        channels = {c for home in self._world.guilds.values() for c in home.channels}
        self._invites = {
            code: invite
            for code, invite in self._invites.items()
            if invite.channel in channels
            and (invite.expires is None or now < invite.expires)
        }

    def _told(self, channel: Channel, name: str, body: Json) -> list[Dispatch]:
        """Only who may manage the channel hears of its invites."""
        home, bot = self._world.guild(channel.guild), self._world.bot.id
        if not permissions.inside(home, bot, channel) & permissions.MANAGE_CHANNELS:
            return []
        return self._world.tell(home, name, encode(body))
