"""The Discord integration as one part."""

from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime

from voicestatus.community.activity import Activity, voice_channels
from voicestatus.community.application import OwnApplication
from voicestatus.community.guilds import Guilds
from voicestatus.community.invites import Invites
from voicestatus.community.membership import Membership
from voicestatus.community.organizations import Organizations
from voicestatus.community.profiles import Profiles
from voicestatus.community.ranks import RankRoles
from voicestatus.community.reauthorizing import Reauthorizing
from voicestatus.community.roster import Roster
from voicestatus.community.voice_stream import VoiceStreams
from voicestatus.core.guild_news import GuildNews, MemberJoined, MemberLeft
from voicestatus.core.ids import UserId
from voicestatus.discord.rest.client import RestClient
from voicestatus.hub import Hub
from voicestatus.services import Row
from voicestatus.store.documents import Documents

PATIENCE_S = 5.0
"""Somebody waits for the page."""


class Community(Row):
    """Its parts, for the web to ask."""

    def __init__(
        self,
        *,
        rest: RestClient,
        hub: Hub,
        documents: Documents,
        client_id: int | None,
        clock: IReactorTime,
        wall: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        """Take a clock of Unix seconds, and a source of short ids that never repeat.

        Without a `client_id` Discord is asked which application the bot belongs to.
        """
        super().__init__()
        hurried = rest.within(PATIENCE_S)
        self.guilds = Guilds(hub, hurried, clock, wall)
        self.application = OwnApplication(hurried, clock, client_id)
        self.organizations = Organizations(documents, hub, self.guilds, wall, new_id)
        self.roster = Roster(documents)
        self.membership = Membership(hurried, self.guilds, self.roster, clock)
        self.profiles = Profiles(self.membership, clock)
        self.activity = Activity(self.guilds, hurried, self.application, clock, wall)
        self.streams = VoiceStreams(hub, clock, voice_channels, new_id)
        reauthorizing = Reauthorizing(self.application)
        self.invites = Invites(
            hurried,
            self.guilds,
            self.organizations,
            self.membership,
            reauthorizing,
            clock,
            wall,
        )
        self.ranks = RankRoles(
            rest, self.guilds, self.organizations, self.roster, reauthorizing
        )
        for asked in (self.guilds, self.application, self.membership, self.activity):
            _Closed(asked.close).setServiceParent(self)
        for part in (self.streams, self.invites, self.ranks):
            part.setServiceParent(self)

    def hear(self, news: GuildNews) -> None:
        """Take in what Discord tells of a guild besides who is in voice."""
        if isinstance(news, MemberJoined | MemberLeft):
            self.membership.forget(news.guild, news.user)
        self.invites.hear(news)
        self.ranks.hear(news)

    def signed_in(self, user: UserId) -> None:
        """Take it that somebody has shown who they are."""
        self.ranks.signed_in(user)


class _Closed(Service):
    """Closes what asks for others, when nobody asks any more."""

    def __init__(self, close: Callable[[], object]) -> None:
        self._close = close

    def stopService(self) -> None:
        super().stopService()
        self._close()
