"""One shard's link to Discord: connects, listens, comes back whatever happens."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from twisted.application.service import Service
from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import deferLater
from twisted.logger import Logger

from voicestatus.core.errors import ProtocolError
from voicestatus.core.guild_news import GuildNews, MemberLeft
from voicestatus.core.presence import Event, MemberRemoved
from voicestatus.core.session import SessionState
from voicestatus.discord.gateway import wire
from voicestatus.discord.gateway.compression import COMPRESSIONS
from voicestatus.discord.gateway.connection import (
    GatewayConnection,
    GatewayFactory,
    Surroundings,
)
from voicestatus.discord.gateway.gate import IdentifyGate, Permit
from voicestatus.discord.gateway.portal import Portal
from voicestatus.discord.gateway.reconnect import Attempt, GiveUp, Reconnect
from voicestatus.discord.gateway.session import Cause, Ended, GatewaySession, Phase
from voicestatus.discord.gateway.status import State, Status
from voicestatus.discord.gateway.wire import Login, Verdict
from voicestatus.discord.rest.client import RestClient
from voicestatus.discord.rest.errors import (
    DiscordRefused,
    DiscordUnreachable,
    TokenRefused,
)
from voicestatus.tasks import Tasks

CONNECT_AT_LAST_S: Final = 30.0
"""With finding the name and all its addresses; an endpoint bounds each one alone."""


class Memory(Protocol):
    """What outlives a shard's connections."""

    async def restored(self, shard: int) -> SessionState | None:
        """Return the session to begin with, which survives this process."""
        ...

    def mark(self) -> object:
        """Store the session's state: it is another."""
        ...


Tell = Callable[[Status], object]


class ShardService(Service):
    """One shard's link, one connection after the other."""

    _log = Logger()

    def __init__(
        self,
        login: Login,
        deliver: Callable[[Event, float], object],
        *,
        api: RestClient,
        gate: IdentifyGate,
        portal: Portal,
        memory: Memory,
        around: Surroundings,
        endpoint: Callable[[str], IStreamClientEndpoint],
        jitter: Callable[[], float],
        agent: str,
        outgrown: Callable[[], object] | None = None,
        hear_news: Callable[[GuildNews], object] = lambda _: None,
        compress: str | None = "zstd-stream",
    ) -> None:
        """Take `outgrown`, to be told that Discord wants more shards, or else stop.

        `portal` says with which intents a session is begun, whatever `login` names.
        """
        self._login, self._deliver = login, deliver
        self._portal, self._hear_news = portal, hear_news
        self._shard_id = login.shard[0]
        self._api, self._gate = api, gate
        self._memory = memory
        self._around, self._clock = around, around.clock
        self._metrics = around.metrics
        self._endpoint, self._jitter = endpoint, jitter
        self._agent, self._compress = agent, compress
        self._outgrown = outgrown

        self._tasks = Tasks()
        self._session: GatewaySession | None = None
        self._stored: SessionState | None = None
        """What survives this process."""
        self._connections: set[GatewayConnection] = set()
        self._ended: Deferred[Ended] = Deferred()
        self._permit: Permit | None = None
        self._base_url: str | None = None
        self._state = State.WAITING
        self._problem: str | None = None
        self._told: dict[object, Tell] = {}
        self._metrics.latency.labels(self._shard_id).set_function(self._latency_s)

    @property
    def status(self) -> Status:
        """How the link is now."""
        latency_s = None if self._session is None else self._session.latency_s
        return Status(self._state, self._problem, latency_s)

    @property
    def session_state(self) -> SessionState | None:
        """What a Resume needs as of now.

        Within `deliver` it includes the event that is being delivered.
        """
        return self._stored if self._session is None else self._session.state

    def stored(self, state: SessionState) -> None:
        """See `journal.Link`."""
        self._stored = state
        if self._session is not None:
            self._session.stored(state)

    def subscribe(self, tell: Tell) -> Callable[[], object]:
        """Tell the present status, then each change; return the way out."""
        self._told[key := object()] = tell
        tell(self.status)
        return lambda: self._told.pop(key, None)

    def startService(self) -> None:
        super().startService()
        self._tasks.spawn("the link to Discord", self._live())

    def stopService(self) -> Deferred[None]:
        """Close resumably; fires when the connections are closed."""
        super().stopService()
        self._tasks.cancel()
        return Deferred.fromCoroutine(self._leave())

    # ---- called by the connection, never after its end -----------------------------

    def deliver(self, event: Event, arrived_at: float) -> None:
        self._deliver(event, arrived_at)
        if isinstance(event, MemberRemoved):
            self._hear_news(MemberLeft(event.guild, event.user))

    def report(self, news: GuildNews) -> None:
        self._hear_news(news)

    def entered(self, phase: Phase) -> None:
        match phase:
            case Phase.IDENTIFYING:
                self._hand_back_permit(identified=True)
                self._metrics.identifies.labels(self._shard_id).inc()
                self._become(State.IDENTIFYING, self._problem)
            case Phase.RESUMING:
                self._metrics.resumes.labels(self._shard_id).inc()
                self._become(State.RESUMING, self._problem)
            case Phase.READY:
                self._log.info("shard {shard} is ready", shard=self._shard_id)
                self._become(State.READY)
            case Phase.OPENING | Phase.OVER:
                pass

    def keep(self) -> None:
        self._memory.mark()

    def ended(self, ended: Ended, why: str) -> None:
        self._log.info(
            "shard {shard}: the connection ended ({cause}): {why}",
            shard=self._shard_id,
            cause=ended.cause.value
            if ended.code is None
            else f"{ended.cause.value}, code {ended.code}",
            why=why,
        )
        if ended.cause is Cause.STOPPED:
            return
        problem = None if ended.held_s is not None else _problem(ended, why)
        self._become(State.WAITING, problem or self._problem)
        self._memory.mark()
        self._ended.callback(ended)

    # ---- the life of the link ------------------------------------------------------

    async def _live(self) -> None:
        if self._session is None:
            await self._restore()
        reconnect = Reconnect()
        plan: Attempt | GiveUp = reconnect.first(self.session_state)
        while isinstance(plan, Attempt):
            if plan.after_s > 0:
                self._become(State.WAITING, self._problem)
                await deferLater(self._clock, plan.after_s)
            self._become(State.CONNECTING, self._problem)
            ended = await self._attempt(plan)
            if not self.running:  # not every cancelled wait says that it was
                return
            self._metrics.reconnects.labels(self._shard_id, ended.cause.value).inc()
            plan = reconnect.after(ended, self._jitter())
            if plan == GiveUp(wire.DISALLOWED_INTENTS) and self._portal.refused(
                self._login.intents
            ):
                plan = reconnect.first(None)
        if plan.code == wire.SHARDING_REQUIRED and self._outgrown is not None:
            self._outgrown()
            return
        sentence = wire.advice(plan.code, self._login.intents)
        self._log.critical(
            "shard {shard} has stopped: {sentence}",
            shard=self._shard_id,
            sentence=sentence,
        )
        self._become(State.STOPPED, sentence)

    async def _restore(self) -> None:
        """Take the session that is there, unless a new one would hear other things."""
        self._stored = state = await self._memory.restored(self._shard_id)
        if state is not None and not await self._portal.fits(state.intents):
            self._log.info(
                "shard {shard}: the session that is stored has other intents",
                shard=self._shard_id,
            )
            self._stored = None

    async def _attempt(self, plan: Attempt) -> Ended:
        """Connect once; return how the connection ended, or why there was none."""
        unreachable = Ended(Cause.UNREACHABLE, plan.state)
        try:
            url = await self._url(plan)
            return await self._connect(url, plan.state)
        except TokenRefused:
            # The same as close code 4004, told before there is a connection.
            return replace(unreachable, state=None, code=4004, verdict=Verdict.STOP)
        except (DiscordUnreachable, DiscordRefused, ProtocolError) as e:
            self._out_of_reach(str(e))
        except (defer.TimeoutError, ConnectingCancelledError):  # an endpoint's word
            self._out_of_reach("connecting took too long")
        except (ConnectError, OSError) as e:  # OSError: a name that is not found
            self._out_of_reach(str(e) or type(e).__name__)
        except CancelledError:  # for the owner of this coroutine
            raise
        except Exception:  # noqa: BLE001 - this attempt is given up, never the link
            self._log.failure("connecting failed")
            self._out_of_reach("an error of this program; see the log")
        finally:
            self._hand_back_permit(identified=False)
        return unreachable

    async def _url(self, plan: Attempt) -> str:
        if plan.state is None:
            intents = await self._portal.intents()
            self._login = replace(self._login, intents=intents)
            self._permit = await self._gate.enter(self._shard_id, self._explain)
            self._base_url = self._permit.url
            return self._base_url
        if not plan.at_base:
            return plan.state.resume_url
        # The address that is known is tried once: should it be no longer in use, the
        # next attempt asks.
        known, self._base_url = self._base_url, None
        return known or (await self._api.gateway_bot()).url

    async def _connect(self, url: str, state: SessionState | None) -> Ended:
        url = wire.address(url, self._compress)
        self._session = GatewaySession(
            self._login, state, self._jitter(), self._durable(state)
        )
        connection = GatewayConnection(
            self._session,
            COMPRESSIONS[self._compress](),
            self._shard_id,
            self,
            self._around,
        )
        self._ended = Deferred()
        factory = GatewayFactory(url, self._agent, connection, self._clock)
        connecting = self._endpoint(url).connect(factory)
        await connecting.addTimeout(CONNECT_AT_LAST_S, self._clock)
        self._connections.add(connection)
        connection.gone.addCallback(lambda _: self._connections.discard(connection))
        return await self._ended

    def _durable(self, state: SessionState | None) -> int | None:
        """Return up to where that session is stored."""
        stored = self._stored
        if state is None or stored is None or state.session_id != stored.session_id:
            return None
        return stored.seq

    async def _leave(self) -> None:
        leaving = list(self._connections)
        for connection in leaving:
            connection.leave()
        self._become(State.STOPPED)
        self._metrics.forget_link(self._shard_id)
        # Each aborts by itself when its peer does not close.
        await DeferredList([connection.gone for connection in leaving])

    # ---- small things --------------------------------------------------------------

    def _latency_s(self) -> float:
        latency_s = self.status.latency_s
        return float("nan") if latency_s is None else latency_s

    def _hand_back_permit(self, *, identified: bool) -> None:
        if self._permit is not None:
            permit, self._permit = self._permit, None
            self._gate.leave(permit, identified=identified)

    def _explain(self, problem: str) -> None:
        self._become(State.WAITING, problem)

    def _out_of_reach(self, why: str) -> None:
        if not self.running:
            return
        self._log.warn(
            "shard {shard}: Discord is out of reach: {why}",
            shard=self._shard_id,
            why=why,
        )
        self._become(State.WAITING, f"Discord is out of reach: {why}")

    def _become(self, state: State, problem: str | None = None) -> None:
        if (self._state, self._problem) == (state, problem):
            return
        self._state, self._problem = state, problem
        self._metrics.state.labels(self._shard_id).state(state.value)
        for tell in tuple(self._told.values()):
            try:
                tell(self.status)
            except Exception:  # noqa: BLE001 - a listener's bug is not the link's
                self._log.failure("a listener of the link's status failed")


def _problem(ended: Ended, why: str) -> str:
    if ended.code is not None:
        return f"Discord closed the connection (code {ended.code})"
    if ended.spoke:
        return f"the link to Discord ended ({why}) and is being made again"
    return f"Discord is out of reach: {why}"
