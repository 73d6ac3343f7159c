"""What an organization may set: defaults, bounds, what fits its server. Pure."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from voicestatus.core import channels as kinds
from voicestatus.core import ranks
from voicestatus.core.errors import Refusal
from voicestatus.core.guild import Channel
from voicestatus.core.ids import SNOWFLAKE, ChannelId, GuildId, RoleId
from voicestatus.core.ranks import Hierarchy, Obstacle
from voicestatus.devices.wire import Line

OVERVIEW_MOST: Final = 25
RANKS_MOST: Final = 50
DAY_MINUTES: Final = 24 * 60
TEXT: Final = frozenset({kinds.TEXT, kinds.ANNOUNCEMENT})
VOICE: Final = frozenset({kinds.VOICE, kinds.STAGE})
_WORDS: Final = {
    TEXT: "a text or announcement channel",
    VOICE: "a voice or stage channel",
    TEXT | VOICE: "a channel where people write or talk",
}

Snowflake = Annotated[str, Meta(pattern=SNOWFLAKE, examples=["1187000000000000001"])]
Rank = Annotated[Line, Meta(min_length=1, examples=["Officer"])]
Name = Annotated[Line, Meta(min_length=1, examples=["The Raiders"])]
AttendanceMode = Literal["off", "track", "auto"]
Minutes = Annotated[int, Meta(ge=0, le=DAY_MINUTES)]
Percent = Annotated[int, Meta(ge=0, le=100)]
Days = Annotated[int, Meta(ge=1, le=365)]


class OrganizationSettings(Struct, frozen=True, omit_defaults=True):
    """What is set of an organization, besides its server and its name."""

    discord_overview_channel_ids: tuple[ChannelId, ...] = ()
    discord_invite_channel_id: ChannelId | None = None
    discord_announcement_channel_id: ChannelId | None = None
    discord_voice_channel_id: ChannelId | None = None
    discord_events_enabled: bool = True
    voice_attendance_mode: AttendanceMode = "off"
    voice_attendance_min_minutes: Minutes = 10
    voice_attendance_min_percent: Percent = 50
    event_auto_start: bool = True
    event_start_delay_minutes: Minutes = 0
    event_auto_complete: bool = True
    event_complete_delay_minutes: Minutes = 0
    attendance_retention_days: Days = 14
    discord_rank_roles: dict[str, RoleId] = {}


DEFAULTS: Final = OrganizationSettings()


class SettingsPatch(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What is changed; what is left out stays, null is the default again."""

    discord_guild_id: Annotated[
        Snowflake | UnsetType | None,
        Meta(description="which server it is; changed by admins alone"),
    ] = UNSET
    discord_overview_channel_ids: (
        Annotated[tuple[Snowflake, ...], Meta(max_length=OVERVIEW_MOST)]
        | UnsetType
        | None
    ) = UNSET
    discord_invite_channel_id: Snowflake | UnsetType | None = UNSET
    discord_announcement_channel_id: Snowflake | UnsetType | None = UNSET
    discord_voice_channel_id: Snowflake | UnsetType | None = UNSET
    discord_events_enabled: bool | UnsetType | None = UNSET
    voice_attendance_mode: AttendanceMode | UnsetType | None = UNSET
    voice_attendance_min_minutes: Minutes | UnsetType | None = UNSET
    voice_attendance_min_percent: Percent | UnsetType | None = UNSET
    event_auto_start: bool | UnsetType | None = UNSET
    event_start_delay_minutes: Minutes | UnsetType | None = UNSET
    event_auto_complete: bool | UnsetType | None = UNSET
    event_complete_delay_minutes: Minutes | UnsetType | None = UNSET
    attendance_retention_days: Days | UnsetType | None = UNSET
    discord_rank_roles: (
        Annotated[dict[Rank, Snowflake], Meta(max_length=RANKS_MOST)] | UnsetType | None
    ) = UNSET

    @property
    def guild(self) -> GuildId | UnsetType | None:
        given = self.discord_guild_id
        return GuildId(int(given)) if isinstance(given, str) else given

    @property
    def names_places(self) -> bool:
        """Whether it names a channel or a role."""
        return any(getattr(self, name) for name in (*_ONE_CHANNEL, _OVERVIEW, _RANKS))


_ONE_CHANNEL: Final = {
    "discord_invite_channel_id": TEXT,
    "discord_announcement_channel_id": TEXT,
    "discord_voice_channel_id": VOICE,
}
_OVERVIEW, _RANKS = "discord_overview_channel_ids", "discord_rank_roles"
_KEY: Final = {
    field.name: field.encode_name for field in msgspec.structs.fields(SettingsPatch)
}


def patched(
    settings: OrganizationSettings,
    patch: SettingsPatch,
    channels: Mapping[ChannelId, Channel] | None,
) -> OrganizationSettings:
    """Change what the patch names; `channels` are its server's, None: it has none.

    Roles are judged by `check_roles`.

    :raises Refusal: `VALIDATION_FAILED`, with the `key` that is wrong.
    """
    changed: dict[str, Any] = {}
    for name in OrganizationSettings.__struct_fields__:
        value = getattr(patch, name)
        if value is UNSET:
            continue
        if value is None:
            changed[name] = getattr(DEFAULTS, name)
        elif name in _ONE_CHANNEL:
            changed[name] = _channel(name, value, channels, _ONE_CHANNEL[name])
        elif name == _OVERVIEW:
            changed[name] = _overview(value, channels)
        elif name == _RANKS:
            changed[name] = _ranks(value, linked=channels is not None)
        else:
            changed[name] = value
    return msgspec.structs.replace(settings, **changed)


def moved(
    settings: OrganizationSettings, channels: Iterable[ChannelId]
) -> OrganizationSettings:
    """Return what is left in another server with these channels, or in none."""
    there = frozenset(channels)
    gone = (name for name in _ONE_CHANNEL if getattr(settings, name) not in there)
    overview = settings.discord_overview_channel_ids
    return msgspec.structs.replace(
        settings,
        discord_overview_channel_ids=tuple(c for c in overview if c in there),
        discord_rank_roles={},
        **dict.fromkeys(gone),
    )


def check_roles(rank_roles: Mapping[str, RoleId], hierarchy: Hierarchy) -> None:
    """See that the roles of all ranks can be given and taken.

    :raises Refusal: `VALIDATION_FAILED` for one that is not there,
        `ROLE_NOT_ASSIGNABLE` for one that nobody, or not this bot, or not who asks,
        may give.
    """
    for rank, role in rank_roles.items():
        key = f"{_KEY[_RANKS]}.{rank}"
        match hierarchy.obstacle(role):
            case None:
                continue
            case Obstacle.GONE:
                raise _invalid(key, f"There is no role {role} in this server.")
            case obstacle:
                name = hierarchy.name(role)
                raise Refusal(
                    "ROLE_NOT_ASSIGNABLE",
                    f"The role {name} cannot be a rank's: {ranks.WORDS[obstacle]}.",
                    key=key,
                    role={"id": str(role), "name": name},
                    reason=obstacle.value,
                )


def _overview(
    given: tuple[str, ...], channels: Mapping[ChannelId, Channel] | None
) -> tuple[ChannelId, ...]:
    found = tuple(_channel(_OVERVIEW, one, channels, TEXT | VOICE) for one in given)
    if len(set(found)) < len(found):
        raise _invalid(_KEY[_OVERVIEW], "A channel is named twice.")
    return found


def _ranks(given: Mapping[str, str], *, linked: bool) -> dict[str, RoleId]:
    if given and not linked:
        raise _unlinked(_KEY[_RANKS])
    return {rank: RoleId(int(role)) for rank, role in given.items()}


def _channel(
    name: str,
    given: str,
    channels: Mapping[ChannelId, Channel] | None,
    wanted: frozenset[int],
) -> ChannelId:
    key = _KEY[name]
    if channels is None:
        raise _unlinked(key)
    if (channel := channels.get(ChannelId(int(given)))) is None:
        raise _invalid(key, f"There is no channel {given} in this server.")
    if channel.kind not in wanted:
        raise _invalid(key, f"Channel {given} should be {_WORDS[wanted]}.")
    return channel.id


def _unlinked(key: str) -> Refusal:
    return _invalid(key, "No Discord server is linked: link one first.")


def _invalid(key: str, message: str) -> Refusal:
    return Refusal("VALIDATION_FAILED", message, key=key)
