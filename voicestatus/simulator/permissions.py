"""What the bot may see in a guild. Pure.

Source: Discord docs, Permissions, and Channel, "Obfuscated Channels".
"""

from voicestatus.simulator.payloads import CATEGORY, Channel, Guild

ADMINISTRATOR, VIEW_CHANNEL = 1 << 3, 1 << 10
EVERYTHING = (1 << 53) - 1


def of(guild: Guild, user: int) -> int:
    """Tell what a member may do in the guild as a whole."""
    held = {guild.id, *guild.members[user].roles}
    bits = 0
    for role in guild.roles:
        if role.id in held:
            bits |= role.permissions
    return EVERYTHING if user == guild.owner or bits & ADMINISTRATOR else bits


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


def _sees(guild: Guild, user: int, channel: Channel) -> bool:
    base = of(guild, user)
    if base == EVERYTHING:
        return True
    at = guild.voice.get(user)
    if at is not None and at.channel == channel.id:
        return True
    sees = bool(base & VIEW_CHANNEL)
    roles = set(guild.members[user].roles)
    for targets in ({guild.id}, roles, {user}):
        said = [o for o in channel.overwrites if o.target in targets]
        if any(o.deny & VIEW_CHANNEL for o in said):
            sees = False
        if any(o.allow & VIEW_CHANNEL for o in said):
            sees = True
    return sees
