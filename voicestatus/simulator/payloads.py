"""The JSON objects that Discord tells, field by field. Pure.

Source: Discord docs, Gateway Events and Resources. Ids are decimal texts.
"""

from dataclasses import dataclass, field

import msgspec

Json = dict[str, object]

TEXT, VOICE, CATEGORY, ANNOUNCEMENT, STAGE, FORUM = 0, 2, 4, 5, 13, 15
VOICE_LIKE = frozenset({VOICE, STAGE})
CHANNEL_TYPES = frozenset({TEXT, VOICE, CATEGORY, ANNOUNCEMENT, STAGE, FORUM})

BOT_JOINED_AT = "2026-01-05T10:00:00.000000+00:00"
JOINED_AT = "2025-02-11T18:04:05.123000+00:00"

encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class User:
    """One account; the same in every guild."""

    id: int
    name: str
    bot: bool = False
    avatar: str | None = None

    def payload(self) -> Json:
        shown: Json = {
            "id": str(self.id),
            "username": self.name,
            "discriminator": "4821" if self.bot else "0",
            "global_name": None if self.bot else self.name.title(),
            "avatar": self.avatar,
            "banner": None,
            "accent_color": None,
            "public_flags": 0,
            "avatar_decoration_data": None,
            "collectibles": None,
            "primary_guild": None,
        }
        if self.bot:
            shown["bot"] = True
        return shown

    def own_payload(self) -> Json:
        """What the account learns about itself (READY)."""
        return self.payload() | {
            "email": None,
            "verified": True,
            "mfa_enabled": True,
            "flags": 0,
        }


@dataclass(slots=True)
class Member:
    """One account in one guild."""

    user: User
    roles: tuple[int, ...] = ()
    nick: str | None = None
    avatar: str | None = None
    """Shown in this guild instead of the account's."""
    joined_at: str = JOINED_AT
    deaf: bool = False
    mute: bool = False
    _encoded: msgspec.Raw | None = field(default=None, repr=False)

    def changed(self) -> None:
        """Forget the encoded form."""
        self._encoded = None

    def encoded(self) -> msgspec.Raw:
        """Its JSON, made once: each voice change of that person carries it."""
        if self._encoded is None:
            self._encoded = msgspec.Raw(encode(self.payload()))
        return self._encoded

    def payload(self) -> Json:
        return {"user": self.user.payload()} | self.bare_payload()

    def bare_payload(self) -> Json:
        """Without the account, as a message carries it beside its author."""
        return {
            "nick": self.nick,
            "avatar": self.avatar,
            "banner": None,
            "roles": [str(role) for role in self.roles],
            "joined_at": self.joined_at,
            "premium_since": None,
            "deaf": self.deaf,
            "mute": self.mute,
            "flags": 0,
            "pending": False,
            "communication_disabled_until": None,
            "avatar_decoration_data": None,
            "collectibles": None,
        }


@dataclass(slots=True)
class VoiceState:
    """Where one person is, and how."""

    channel: int
    session_id: str
    deaf: bool = False
    mute: bool = False
    self_deaf: bool = False
    self_mute: bool = False
    self_stream: bool = False
    suppress: bool = False

    def payload(self, user: int, channel: int | None) -> Json:
        """As it stands in a GUILD_CREATE: neither guild nor member."""
        return {
            "channel_id": None if channel is None else str(channel),
            "user_id": str(user),
            "session_id": self.session_id,
            "deaf": self.deaf,
            "mute": self.mute,
            "self_deaf": self.self_deaf,
            "self_mute": self.self_mute,
            "self_stream": self.self_stream,
            "self_video": False,
            "suppress": self.suppress,
            "request_to_speak_timestamp": None,
        }


@dataclass(frozen=True, slots=True)
class Overwrite:
    """What a channel changes for a role, or for one member."""

    target: int
    allow: int = 0
    deny: int = 0
    of_member: bool = False

    def payload(self) -> Json:
        return {
            "id": str(self.target),
            "type": int(self.of_member),
            "allow": str(self.allow),
            "deny": str(self.deny),
        }


@dataclass(slots=True)
class Channel:
    """One channel of a guild; a category is one, too."""

    id: int
    guild: int
    type: int
    name: str
    position: int
    parent: int | None = None
    last_message: int | None = None
    overwrites: tuple[Overwrite, ...] = ()

    def payload(self) -> Json:
        shown: Json = {
            "id": str(self.id),
            "type": self.type,
            "name": self.name,
            "position": self.position,
            "parent_id": None if self.parent is None else str(self.parent),
            "permission_overwrites": [each.payload() for each in self.overwrites],
            "flags": 0,
            "guild_id": str(self.guild),
        }
        if self.type == CATEGORY:
            return shown
        shown |= {
            "topic": None,
            "nsfw": False,
            "rate_limit_per_user": 0,
            "last_message_id": None
            if self.last_message is None
            else str(self.last_message),
        }
        if self.type in VOICE_LIKE:
            return shown | {
                "bitrate": 64000,
                "user_limit": 10000 if self.type == STAGE else 0,
                "rtc_region": None,
            }
        if self.type == FORUM:
            return shown | {
                "available_tags": [],
                "default_reaction_emoji": None,
                "default_sort_order": None,
                "default_forum_layout": 0,
            }
        return shown | {
            "default_auto_archive_duration": 1440,
            "last_pin_timestamp": None,
        }


@dataclass(slots=True)
class Role:
    """One role of a guild; @everyone has the guild's own id."""

    id: int
    name: str
    position: int
    permissions: int
    colour: int = 0
    bot: int | None = None

    def payload(self) -> Json:
        shown: Json = {
            "id": str(self.id),
            "name": self.name,
            "color": self.colour,
            "colors": {
                "primary_color": self.colour,
                "secondary_color": None,
                "tertiary_color": None,
            },
            "hoist": bool(self.colour),
            "icon": None,
            "unicode_emoji": None,
            "position": self.position,
            "permissions": str(self.permissions),
            "managed": self.bot is not None,
            "mentionable": False,
            "flags": 0,
        }
        if self.bot is not None:
            shown["tags"] = {"bot_id": str(self.bot)}
        return shown


@dataclass(slots=True)
class Guild:
    """One guild: its rooms, its members, and who is in voice."""

    id: int
    name: str
    owner: int
    roles: tuple[Role, ...]
    channels: dict[int, Channel]
    members: dict[int, Member]
    afk: int | None
    system: int | None
    voice: dict[int, VoiceState] = field(default_factory=dict)
    unavailable: bool = False
    """In outage: who is in voice still changes, but nobody is told."""

    @property
    def rooms(self) -> list[int]:
        """Where people talk: the voice channels, without the AFK one."""
        return [
            channel.id
            for channel in self.channels.values()
            if channel.type == VOICE and channel.id != self.afk
        ]

    def payload(self) -> Json:
        """As in GUILD_UPDATE: neither channels nor people."""
        return {
            "id": str(self.id),
            "name": self.name,
            "icon": None,
            "splash": None,
            "discovery_splash": None,
            "banner": None,
            "description": None,
            "owner_id": str(self.owner),
            "application_id": None,
            "afk_channel_id": None if self.afk is None else str(self.afk),
            "afk_timeout": 300,
            "system_channel_id": None if self.system is None else str(self.system),
            "system_channel_flags": 0,
            "rules_channel_id": None,
            "public_updates_channel_id": None,
            "safety_alerts_channel_id": None,
            "verification_level": 1,
            "default_message_notifications": 1,
            "explicit_content_filter": 0,
            "mfa_level": 0,
            "nsfw_level": 0,
            "premium_tier": 0,
            "premium_subscription_count": 0,
            "premium_progress_bar_enabled": False,
            "preferred_locale": "en-US",
            "vanity_url_code": None,
            "features": [],
            "roles": [role.payload() for role in self.roles],
            "emojis": [],
            "stickers": [],
            "max_members": 500000,
            "max_presences": None,
            "max_video_channel_users": 25,
            "max_stage_video_channel_users": 50,
            "incidents_data": None,
        }

    def create_payload(self, people: list[Member], *, voice: bool) -> Json:
        """As in GUILD_CREATE, which shows `people` and, if asked for, the voices."""
        return self.payload() | {
            "joined_at": BOT_JOINED_AT,
            "large": len(self.members) > 50,
            "unavailable": False,
            "member_count": len(self.members),
            "members": [member.encoded() for member in people],
            "channels": [channel.payload() for channel in self.channels.values()],
            "threads": [],
            "presences": [],
            "stage_instances": [],
            "guild_scheduled_events": [],
            "soundboard_sounds": [],
            "voice_states": [
                state.payload(user, state.channel) for user, state in self.voice.items()
            ]
            if voice
            else [],
        }

    def voice_payload(self, user: int, state: VoiceState, channel: int | None) -> Json:
        """As in VOICE_STATE_UPDATE; None: that person has left."""
        return (
            {"guild_id": str(self.id)}
            | state.payload(user, channel)
            | {"member": self.members[user].encoded()}
        )
