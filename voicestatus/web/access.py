"""Who may come in, as one part: the gate, sessions, tokens, pages at `/auth`."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from twisted.internet.interfaces import IReactorTime

from voicestatus.core.addresses import Addresses
from voicestatus.core.ids import GuildId, UserId
from voicestatus.services import Row
from voicestatus.store.documents import Documents
from voicestatus.web.api.account import AccountSubject, ApiTokensSubject, WaysIn
from voicestatus.web.api.resource import Api
from voicestatus.web.audit import Audit
from voicestatus.web.auth.api_tokens import ApiTokens
from voicestatus.web.auth.discord import Guilds, OAuth, SignIn
from voicestatus.web.auth.gate import Gate, GateMetrics
from voicestatus.web.auth.identity import Standing
from voicestatus.web.auth.pages import DiscordSubject, Lobby, SignInSubject
from voicestatus.web.auth.sessions import Sessions
from voicestatus.web.auth.visit import Visits
from voicestatus.web.pruner import Pruner
from voicestatus.web.request_ids import RequestIds

CALLBACK = "/auth/discord/callback"


@dataclass(frozen=True, slots=True)
class DiscordApp:
    """By what people sign in with Discord, and what makes them admins."""

    oauth: OAuth
    trusted: Collection[GuildId]
    """The guilds of the settings: who manages one of them is an admin here."""
    standing: Standing | None = None
    """Who knows better; None: Discord's word at the sign-in."""
    arrived: Callable[[UserId], object] = lambda _: None
    """Told who has signed in."""


class Access(Row):
    """`pages` stands at `/auth`; `subjects` are for the API."""

    def __init__(
        self,
        *,
        token: str,
        documents: Documents,
        audit: Audit,
        addresses: Addresses,
        public_url: str,
        discord: DiscordApp | None,
        guilds: Callable[[], Collection[GuildId]],
        metrics: CollectorRegistry,
        clock: IReactorTime,
        wall: Callable[[], float],
        ids: RequestIds,
        new_secret: Callable[[], str],
    ) -> None:
        """Take where browsers find us, and a source of 256 bits in 43 characters."""
        super().__init__()
        key = token.encode()
        sessions = self.sessions = Sessions(documents, key, wall, new_secret)
        api_tokens = ApiTokens(documents, wall, new_secret)
        self.gate = Gate(
            key,
            sessions,
            api_tokens,
            Visits(addresses, public_url),
            clock,
            GateMetrics(metrics),
            None if discord is None else discord.standing,
        )
        self.subjects = (
            AccountSubject(
                sessions, WaysIn(admin_token=True, discord=discord is not None)
            ),
            ApiTokensSubject(api_tokens, audit, wall),
        )
        lobby = Lobby(sessions, audit)
        pages: list[object] = [SignInSubject(self.gate, sessions, lobby)]
        pruners = [Pruner("the list of sessions", sessions.prune, clock)]
        if discord is not None:
            sign_in = SignIn(
                discord.oauth,
                public_url + CALLBACK,
                Guilds(guilds, discord.trusted),
                discord.standing,
                documents,
                wall,
                new_secret,
            )
            pages.append(DiscordSubject(sign_in, lobby, discord.arrived))
            pruners.append(Pruner("the list of sign-ins", sign_in.prune, clock))
        at_auth = Api(pages, self.gate, ids)
        self.pages = at_auth.resource
        for part in (self.gate, *pruners, at_auth):
            part.setServiceParent(self)
