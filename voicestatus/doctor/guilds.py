"""What the bot sees in a server. Pure."""

from dataclasses import dataclass

from voicestatus.core import bot_permissions
from voicestatus.core.bot_permissions import missing_in
from voicestatus.core.features import NEEDS, Feature, permissions
from voicestatus.core.ids import GuildId, UserId
from voicestatus.core.permissions import (
    ADMINISTRATOR,
    VIEW_CHANNEL,
    Holder,
    in_channel,
    in_guild,
)
from voicestatus.discord.rest.wire import Channel, Guild, Role
from voicestatus.doctor.finding import Finding, failed, listed, ok, warning


@dataclass(frozen=True, slots=True)
class Bot:
    """Whose view it is, and what the settings want of it."""

    user: UserId
    application: int
    features: frozenset[Feature]

    def invitation(self, guild: GuildId | None = None) -> str:
        """Make the address at which an admin of a server lets it in, or allows more."""
        return bot_permissions.invitation(
            self.application, guild, permissions=permissions(self.features)
        )


@dataclass(frozen=True, slots=True)
class View:
    """One server as Discord shows it to the bot."""

    guild: Guild
    channels: tuple[Channel, ...]
    bot: Bot
    roles: tuple[int, ...]

    @property
    def own_role(self) -> Role | None:
        """The role that Discord made when the bot was invited."""
        return next((r for r in self.guild.roles if r.bot == self.bot.user), None)

    @property
    def permissions(self) -> int:
        """What the bot may do in the server as a whole."""
        roles = {role.id: role.permissions for role in self.guild.roles}
        return in_guild(self.guild.id, self.guild.owner, roles, self._holder)

    def sees(self, channel: Channel) -> bool:
        """Whether the bot hears who is in that channel."""
        if channel.hidden:  # its overwrites are none of its own
            return False
        base, guild = self.permissions, self.guild.id
        held = in_channel(base, guild, channel.overwrites, self._holder)
        return bool(held & VIEW_CHANNEL)

    def denied_itself(self, channel: Channel) -> bool:
        """Whether an entry for the bot as a member hides the channel from it."""
        return any(
            entry.of_member and entry.deny & VIEW_CHANNEL
            for entry in channel.overwrites
            if entry.target == self.bot.user
        )

    @property
    def _holder(self) -> Holder:
        return Holder(self.bot.user, self.roles)


def not_in(guild: GuildId, bot: Bot) -> Finding:
    """Say that the bot is not in a server that the settings name."""
    return failed(
        "server",
        f"the bot is not in the server {guild} of GUILD_ID",
        f"Mend GUILD_ID, or invite the bot: {bot.invitation(guild)}",
    )


def in_none(bot: Bot) -> Finding:
    """Say that the bot is in no server at all."""
    return failed("server", "the bot is in no server", f"Invite it: {bot.invitation()}")


def not_all(most: int) -> Finding:
    """Say that there are more servers than were looked at."""
    return warning(
        "server",
        f"the bot is in more servers, of which only {most} were looked at",
        "Name those that matter in GUILD_ID",
    )


def judge(view: View) -> list[Finding]:
    """Tell of one server that the bot is in."""
    guild = view.guild
    findings = [ok("server", f"the bot is in {guild.name} ({guild.id})")]
    if any(r.permissions & ADMINISTRATOR for r in guild.roles if r.id in view.roles):
        findings.append(
            warning(
                "permissions",
                f"in {guild.name} the bot is an administrator, which it need not be",
                "Server Settings > Roles: take Administrator from the bot's roles and"
                " leave it those that it needs (docs/doctor.md)",
            )
        )
    return [*findings, _channels(view), *_permissions(view)]


def _permissions(view: View) -> list[Finding]:
    """Tell what each feature lacks in the server as a whole; who is seen is told."""
    guild, wanted = view.guild, view.bot.features - {Feature.PRESENCE}
    lacking = {
        feature: lacks
        for feature in Feature
        if feature in wanted
        and (lacks := missing_in(view.permissions, _beyond_presence(feature)))
    }
    if not lacking and any(map(_beyond_presence, wanted)):
        names = ", ".join(feature.value for feature in Feature if feature in wanted)
        found = f"in {guild.name} the bot may do all that {names} needs"
        return [ok("permissions", found)]
    return [
        warning(
            "permissions",
            f"in {guild.name} {feature.value} lacks "
            + listed([f"{each.name} ({each.needed_for})" for each in lacks]),
            f"Authorize the bot again: {view.bot.invitation(guild.id)}",
        )
        for feature, lacks in lacking.items()
    ]


def _beyond_presence(feature: Feature) -> int:
    return NEEDS[feature].permissions & ~NEEDS[Feature.PRESENCE].permissions


def _channels(view: View) -> Finding:
    guild = view.guild
    voice = [channel for channel in view.channels if channel.voice]
    seen = [channel.name for channel in voice if view.sees(channel)]
    unseen = [channel for channel in voice if not view.sees(channel)]
    names = [_name(channel) for channel in unseen]
    known = {channel.id for channel in view.channels}
    if guild.afk_channel is not None and guild.afk_channel not in known:
        names.append("its AFK channel")
    if not seen and not view.permissions & VIEW_CHANNEL:
        return failed(
            "channels",
            f"in {guild.name} the bot may not view any voice channel",
            _allow_everywhere(view.own_role),
        )
    if names:
        judged = warning if seen else failed
        found = f"in {guild.name} the bot cannot see {listed(names)}"
        itself = any(view.denied_itself(channel) for channel in unseen)
        return judged("channels", found, _allow_there(view.own_role, itself=itself))
    if not seen:
        return warning(
            "channels",
            f"in {guild.name} the bot sees no voice channel",
            "Make one there; if there is one: " + _allow_there(view.own_role),
        )
    # What the bot cannot see Discord may leave out without a word.
    return ok(
        "channels",
        f"in {guild.name} the bot sees {listed(seen)}; any other is hidden from it",
    )


def _name(channel: Channel) -> str:
    return f"channel {channel.id}" if channel.hidden else channel.name


def _allow_everywhere(role: Role | None) -> str:
    if role is None:
        return (
            "Server Settings > Roles: make a role with View Channels"
            " and give it to the bot"
        )
    return f'Server Settings > Roles > "{role.name}": switch on View Channels'


def _allow_there(role: Role | None, *, itself: bool = False) -> str:
    whom = "the bot" if role is None else f'the role "{role.name}"'
    there = "Edit Channel > Permissions of each"
    if itself:
        return f"{there}: take away the bot's own entry, allow {whom} View Channel"
    return f"{there}: add {whom}, allow View Channel"
