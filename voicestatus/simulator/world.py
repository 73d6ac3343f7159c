"""The pretended world: guilds, rooms, people, and who is in voice. Pure.

Whatever changes it returns the dispatches that Discord would send for it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import cycle

from voicestatus.core.errors import VoiceStatusError
from voicestatus.simulator import intents
from voicestatus.simulator.payloads import (
    BOT_JOINED_AT,
    CATEGORY,
    CHANNEL_TYPES,
    STAGE,
    TEXT,
    VOICE,
    VOICE_LIKE,
    Channel,
    Guild,
    Member,
    Role,
    User,
    VoiceState,
    encode,
)

EVERYONE = 36_785_153
MODERATOR = 57_756_689
BOT_PERMISSIONS = 17_601_045_548_033
RESIDENTS = ("ada", "ben", "cy", "dora")
GUILD_NAMES = ("Harbour Lights", "Night Owls", "Sunday Raiders")
"""Of those that are given none; then they are numbered."""

# 2023-12: an id tells when it was made (milliseconds since 2015, shifted by 22).
FIRST_MOMENT = 283_000_000_000
SEED_STEP = 100_000_000


class RefusedError(VoiceStatusError):
    """The world does not know what was asked for; `field` names the wrong one."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field, self.message = field, message


@dataclass(frozen=True, slots=True)
class Dispatch:
    """One event for every session that may see it."""

    name: str
    guild: int | None
    body: bytes | Callable[[int], bytes]
    """Its `d` as JSON; a function where the session's intents change it."""


@dataclass(frozen=True, slots=True)
class Voice:
    """What somebody does in voice; None leaves a flag as it is."""

    mute: bool | None = None
    deaf: bool | None = None
    self_mute: bool | None = None
    self_deaf: bool | None = None
    self_stream: bool | None = None


NOTHING_ELSE = Voice()


class World:
    """Every guild of the bot; ids follow from `seed` alone."""

    def __init__(self, guilds: Iterable[int] = (), seed: int = 0) -> None:
        self._made = FIRST_MOMENT + seed * SEED_STEP
        self._voice_sessions = 0
        self.changes = 0
        """How many dispatches there were."""
        self.bot = User(self.new_id(), "voicestatus", bot=True)
        self.users = {self.bot.id: self.bot}
        self._residents = [self._new_user(name) for name in RESIDENTS]
        self.guilds: dict[int, Guild] = {}
        for guild in tuple(guilds) or (self.new_id(),):
            self.add_guild(guild)

    def new_id(self) -> int:
        """Make a snowflake; each falls on another shard than the one before."""
        self._made += 1
        return self._made << 22

    # -- what is true ------------------------------------------------------------

    def state(self) -> dict[str, dict[str, dict[str, dict[str, str]]]]:
        """Tell who is where: `{"guilds": {ID: {"voice": {USER: CHANNEL}}}}`."""
        return {
            "guilds": {
                str(guild.id): {
                    "voice": {
                        str(user): str(state.channel)
                        for user, state in guild.voice.items()
                    }
                }
                for guild in self.guilds.values()
            }
        }

    def guild(self, guild: int) -> Guild:
        """:raises RefusedError: when there is none of that id."""
        if guild not in self.guilds:
            raise RefusedError("guild", f"there is no guild {guild}")
        return self.guilds[guild]

    def channel(self, channel: int) -> Channel:
        """:raises RefusedError: when there is none of that id."""
        for guild in self.guilds.values():
            if channel in guild.channels:
                return guild.channels[channel]
        raise RefusedError("channel", f"there is no channel {channel}")

    # -- guilds and channels -----------------------------------------------------

    def add_guild(
        self, guild: int, name: str | None = None, members: int = 0, in_voice: int = 0
    ) -> list[Dispatch]:
        """The bot joins a guild of at least so many people, so many of them in voice.

        :raises RefusedError: when it is there already, or has more voices than members.
        """
        if guild in self.guilds:
            raise RefusedError("id", f"guild {guild} exists")
        if in_voice > max(members, len(RESIDENTS)):
            raise RefusedError("inVoice", "more people in voice than members")
        names = (*GUILD_NAMES, f"Guild {len(self.guilds) + 1}")
        given = names[min(len(self.guilds), len(GUILD_NAMES))]
        made = self._furnish(guild, name or given)
        for n in range(len(made.members) - 1, members):
            user = self._new_user(f"member-{n}")
            made.members[user.id] = Member(user)
        people = [user for user in made.members if user != self.bot.id]
        for person, room in zip(people[:in_voice], cycle(made.rooms), strict=False):
            made.voice[person] = VoiceState(room, self._new_voice_session())
        self.guilds[guild] = made
        return self.tell(made, "GUILD_CREATE", self.guild_create(made))

    def remove_guild(self, guild: int) -> list[Dispatch]:
        """The bot is removed from it."""
        gone = self.guild(guild)
        del self.guilds[guild]
        gone.unavailable = False  # a removal is told during an outage, too
        return self.tell(gone, "GUILD_DELETE", encode({"id": str(guild)}))

    def add_channel(
        self,
        guild: int,
        channel: int | None = None,
        name: str | None = None,
        kind: int = VOICE,
    ) -> list[Dispatch]:
        """:raises RefusedError: for an unknown guild or type, or a taken id."""
        home = self.guild(guild)
        if kind not in CHANNEL_TYPES:
            raise RefusedError(
                "type", f"{kind} is no type of channel that is known here"
            )
        if channel is None:
            channel = self.new_id()
        elif any(channel in other.channels for other in self.guilds.values()):
            raise RefusedError("id", f"channel {channel} exists")
        made = Channel(
            channel, guild, kind, name or f"channel-{channel}", len(home.channels)
        )
        home.channels[channel] = made
        return self.tell(home, "CHANNEL_CREATE", encode(made.payload()))

    def remove_channel(self, channel: int) -> list[Dispatch]:
        """Delete it; who was in it falls out of voice after it.

        Source: Discord docs, "Channel Delete"; that null states follow was seen by
        implementers (discordeno PR #2388).
        """
        gone = self.channel(channel)
        home = self.guild(gone.guild)
        del home.channels[channel]
        told = self.tell(home, "CHANNEL_DELETE", encode(gone.payload()))
        if channel in {home.afk, home.system}:
            home.afk = None if home.afk == channel else home.afk
            home.system = None if home.system == channel else home.system
            told += self.tell(home, "GUILD_UPDATE", encode(home.payload()))
        for child in home.channels.values():
            if child.parent == channel:
                child.parent = None
                told += self.tell(home, "CHANNEL_UPDATE", encode(child.payload()))
        inside = [user for user, at in home.voice.items() if at.channel == channel]
        for user in inside:
            told += self.leave(home.id, user)
        return told

    def begin_outage(self, guild: int) -> list[Dispatch]:
        """Discord cannot reach the guild: nothing of it is told from here on."""
        home = self.guild(guild)
        if home.unavailable:
            return []
        told = self.tell(home, "GUILD_DELETE", self.guild_unavailable(home))
        home.unavailable = True
        return told

    def end_outage(self, guild: int) -> list[Dispatch]:
        """The guild is back, with what has changed meanwhile."""
        home = self.guild(guild)
        if not home.unavailable:
            return []
        home.unavailable = False
        return self.tell(home, "GUILD_CREATE", self.guild_create(home))

    def guild_create(self, guild: Guild) -> Callable[[int], bytes]:
        """Make the `d` of a GUILD_CREATE as it stands now, by intents.

        Without the presences intent only the bot and people in voice are members.
        Source: Discord docs, Gateway Events, "Guild Create".
        """

        def body(asked: int) -> bytes:
            voice = bool(asked & intents.GUILD_VOICE_STATES)
            if asked & intents.GUILD_PRESENCES:
                people = list(guild.members.values())
            else:
                seen = {self.bot.id} | (guild.voice.keys() if voice else set())
                people = [guild.members[user] for user in sorted(seen)]
            return encode(guild.create_payload(people, voice=voice))

        return body

    @staticmethod
    def guild_unavailable(guild: Guild) -> bytes:
        """Make the `d` of a GUILD_DELETE that means an outage."""
        return encode({"id": str(guild.id), "unavailable": True})

    # -- people ------------------------------------------------------------------

    def meet(
        self, guild: int, user: int, name: str | None = None, *, bot: bool = False
    ) -> list[Dispatch]:
        """That user, made up if unknown, is a member from here on; a name renames."""
        home, told = self.guild(guild), list[Dispatch]()
        if user not in self.users:
            self.users[user] = User(user, name or f"user-{user}", bot)
        elif name is not None and name != self.users[user].name:
            told += self._rename(self.users[user], name)
        if user not in home.members:
            member = home.members[user] = Member(self.users[user])
            told += self.tell(
                home,
                "GUILD_MEMBER_ADD",
                encode(member.payload() | {"guild_id": str(guild)}),
            )
        return told

    def dismiss(self, guild: int, user: int) -> list[Dispatch]:
        """That member leaves the guild, and so its voice.

        :raises RefusedError: for one who is not in it, for its owner and for the bot.
        """
        home = self.guild(guild)
        if user not in home.members:
            raise RefusedError("user", f"{user} is no member of guild {guild}")
        if user in {home.owner, self.bot.id}:
            raise RefusedError("user", f"{user} is the owner or the bot itself")
        told = self.leave(guild, user)
        member = home.members.pop(user)
        body = encode({"guild_id": str(guild), "user": member.user.payload()})
        return told + self.tell(home, "GUILD_MEMBER_REMOVE", body)

    def join(
        self, guild: int, user: int, channel: int, how: Voice = NOTHING_ELSE
    ) -> list[Dispatch]:
        """That member is in that channel from here on, however it was before.

        :raises RefusedError: when the channel is no voice channel of that guild.
        """
        home = self.guild(guild)
        room = home.channels.get(channel)
        if room is None:
            raise RefusedError(
                "channel", f"there is no channel {channel} in guild {guild}"
            )
        if room.type not in VOICE_LIKE:
            raise RefusedError("channel", f"{channel} is not a voice channel")
        if user not in home.members:
            raise RefusedError("user", f"{user} is no member of guild {guild}")
        member, state = home.members[user], home.voice.get(user)
        fresh = state is None
        if state is None:
            state = home.voice[user] = VoiceState(
                channel, self._new_voice_session(), member.deaf, member.mute
            )
        before = None if fresh else encode(state.payload(user, state.channel))
        state.channel = channel
        self._set_flags(member, state, how)
        # A stage's audience and the AFK channel may not speak.
        state.suppress = room.type == STAGE or channel == home.afk
        if before == encode(state.payload(user, channel)):
            return []
        return self._tell_voice(home, user, state, channel)

    def leave(self, guild: int, user: int) -> list[Dispatch]:
        """That member is outside voice from here on."""
        home = self.guild(guild)
        state = home.voice.pop(user, None)
        if state is None:
            return []
        state.self_stream = state.suppress = False
        return self._tell_voice(home, user, state, None)

    def change_member(
        self,
        guild: int,
        user: int,
        *,
        roles: tuple[int, ...],
        nick: str | None,
        avatar: str | None,
    ) -> list[Dispatch]:
        """That member holds these roles and has that name and picture from here on.

        :raises RefusedError: for one who is no member, or a role of another guild.
        """
        home = self.guild(guild)
        if user not in home.members:
            raise RefusedError("user", f"{user} is no member of guild {guild}")
        known = {role.id for role in home.roles} - {guild}
        if not known.issuperset(roles):
            raise RefusedError("roles", f"guild {guild} has the roles {sorted(known)}")
        member = home.members[user]
        if (member.roles, member.nick, member.avatar) == (roles, nick, avatar):
            return []
        member.roles, member.nick, member.avatar = roles, nick, avatar
        member.changed()
        body = encode(member.payload() | {"guild_id": str(guild)})
        return self.tell(home, "GUILD_MEMBER_UPDATE", body)

    # -- inside ------------------------------------------------------------------

    def _furnish(self, guild: int, name: str) -> Guild:
        everyone = Role(guild, "@everyone", 0, EVERYONE)
        dj = Role(self.new_id(), "DJ", 1, 0)
        own = Role(self.new_id(), "voicestatus", 2, BOT_PERMISSIONS, bot=self.bot.id)
        mods = Role(self.new_id(), "Mods", 3, MODERATOR, colour=3_447_003)
        main = self.new_id()
        rooms = [Channel(main, guild, CATEGORY, "Main", 0)]
        for kind, label in (
            (TEXT, "general"),
            (TEXT, "off-topic"),
            (VOICE, "Lounge"),
            (VOICE, "Games"),
            (VOICE, "AFK"),
            (STAGE, "Town Hall"),
        ):
            rooms.append(
                Channel(self.new_id(), guild, kind, label, len(rooms), parent=main)
            )
        ids = {room.name: room.id for room in rooms}
        members = {
            self.bot.id: Member(self.bot, (own.id,), joined_at=BOT_JOINED_AT),
            **{user.id: Member(user) for user in self._residents},
        }
        owner = self._residents[0].id
        members[owner].roles = (mods.id,)
        return Guild(
            guild,
            name,
            owner,
            (everyone, dj, own, mods),
            {room.id: room for room in rooms},
            members,
            afk=ids["AFK"],
            system=ids["general"],
        )

    @staticmethod
    def _set_flags(member: Member, state: VoiceState, how: Voice) -> None:
        if how.mute is not None and how.mute != member.mute:
            member.mute = how.mute
            member.changed()
        if how.deaf is not None and how.deaf != member.deaf:
            member.deaf = how.deaf
            member.changed()
        state.mute, state.deaf = member.mute, member.deaf
        if how.self_mute is not None:
            state.self_mute = how.self_mute
        if how.self_deaf is not None:
            state.self_deaf = how.self_deaf
        if how.self_stream is not None:
            state.self_stream = how.self_stream

    def _rename(self, user: User, name: str) -> list[Dispatch]:
        user.name, told = name, list[Dispatch]()
        for home in self.guilds.values():
            member = home.members.get(user.id)
            if member is not None:
                member.changed()
                body = encode(member.payload() | {"guild_id": str(home.id)})
                told += self.tell(home, "GUILD_MEMBER_UPDATE", body)
        return told

    def _new_user(self, name: str) -> User:
        user = User(self.new_id(), name)
        self.users[user.id] = user
        return user

    def _new_voice_session(self) -> str:
        self._voice_sessions += 1
        return f"{self._made:016x}{self._voice_sessions:016x}"

    def _tell_voice(
        self, guild: Guild, user: int, state: VoiceState, channel: int | None
    ) -> list[Dispatch]:
        if guild.unavailable:
            return []
        body = encode(guild.voice_payload(user, state, channel))
        return self.tell(guild, "VOICE_STATE_UPDATE", body)

    def tell(
        self, guild: Guild, name: str, body: bytes | Callable[[int], bytes]
    ) -> list[Dispatch]:
        """Make a dispatch of that guild; in an outage there is none."""
        if guild.unavailable:
            return []
        self.changes += 1
        return [Dispatch(name, guild.id, body)]
