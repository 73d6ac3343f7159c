"""What a member may do in a guild and in each of its channels. Pure.

Source: Discord docs, Permissions, and Channel, "Obfuscated Channels".
"""

from collections.abc import Iterable

from voicestatus.simulator.payloads import CATEGORY, VOICE_LIKE, Channel, Guild, Role

CREATE_INVITE, ADMINISTRATOR = 1 << 0, 1 << 3
MANAGE_CHANNELS, MANAGE_GUILD = 1 << 4, 1 << 5
VIEW_CHANNEL, SEND_MESSAGES, MANAGE_MESSAGES = 1 << 10, 1 << 11, 1 << 13
EMBED_LINKS, ATTACH_FILES, READ_HISTORY = 1 << 14, 1 << 15, 1 << 16
MENTION_EVERYONE, SEND_TTS = 1 << 17, 1 << 12
CONNECT, MUTE_MEMBERS, MOVE_MEMBERS = 1 << 20, 1 << 22, 1 << 24
MANAGE_ROLES, MANAGE_EVENTS, CREATE_EVENTS = 1 << 28, 1 << 33, 1 << 44
EVERYTHING = (1 << 53) - 1
_WITHOUT_SENDING = ~(EMBED_LINKS | ATTACH_FILES | MENTION_EVERYONE | SEND_TTS)


def of(guild: Guild, user: int) -> int:
    """Tell what a member may do in the guild as a whole."""
    bits = 0
    for role in _held(guild, user):
        bits |= role.permissions
    return EVERYTHING if user == guild.owner or bits & ADMINISTRATOR else bits


def inside(guild: Guild, user: int, channel: Channel) -> int:
    """Tell what a member may do in one channel; nothing where it is unseen."""
    bits = _after_overwrites(guild, user, channel)
    if bits == EVERYTHING:
        return bits
    if not bits & VIEW_CHANNEL:
        return 0
    if channel.type in VOICE_LIKE and not bits & CONNECT:
        return bits & VIEW_CHANNEL
    return bits if bits & SEND_MESSAGES else bits & _WITHOUT_SENDING


def visible(guild: Guild, user: int) -> list[Channel]:
    """List the channels that a member may see; a category shows with its rooms."""
    rooms = [
        channel
        for channel in guild.channels.values()
        if channel.type != CATEGORY and _sees(guild, user, channel)
    ]
    parents = {room.parent for room in rooms}
    return [
        channel
        for channel in guild.channels.values()
        if channel in rooms
        or (
            channel.type == CATEGORY
            and (channel.id in parents or _sees(guild, user, channel))
        )
    ]


def may_give(guild: Guild, user: int, role: Role) -> bool:
    """Whether a member may give or take that role: only one below their highest.

    Source: Discord docs, Permissions, "Permission Hierarchy".
    """
    if not of(guild, user) & MANAGE_ROLES or role.bot is not None:
        return False
    if role.id == guild.id:
        return False
    highest = max(_rank(held) for held in _held(guild, user))
    return user == guild.owner or _rank(role) < highest


def _rank(role: Role) -> tuple[int, int]:
    return role.position, -role.id


def _held(guild: Guild, user: int) -> Iterable[Role]:
    ids = {guild.id, *guild.members[user].roles}
    return (role for role in guild.roles if role.id in ids)


def _sees(guild: Guild, user: int, channel: Channel) -> bool:
    at = guild.voice.get(user)
    if at is not None and at.channel == channel.id:
        return True
    return bool(_after_overwrites(guild, user, channel) & VIEW_CHANNEL)


def _after_overwrites(guild: Guild, user: int, channel: Channel) -> int:
    bits = of(guild, user)
    if bits == EVERYTHING:
        return bits
    roles = set(guild.members[user].roles)
    for targets in ({guild.id}, roles, {user}):
        said = [o for o in channel.overwrites if o.target in targets]
        for overwrite in said:
            bits &= ~overwrite.deny
        for overwrite in said:
            bits |= overwrite.allow
    return bits
