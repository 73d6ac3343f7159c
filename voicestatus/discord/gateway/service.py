"""The live link to Discord, all shards of it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import Any, Final

from prometheus_client import CollectorRegistry
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import Certificate
from twisted.internet.task import deferLater
from twisted.logger import Logger

from voicestatus.cluster.service import Nodes
from voicestatus.cluster.spread import ANY
from voicestatus.core.errors import ProtocolError
from voicestatus.core.features import Feature, intents
from voicestatus.core.guild_news import GuildNews
from voicestatus.core.presence import Event
from voicestatus.discord.gateway import wire
from voicestatus.discord.gateway.connection import (
    Surroundings,
    Witness,
    endpoint_to,
)
from voicestatus.discord.gateway.gate import IdentifyGate
from voicestatus.discord.gateway.held import HeldShard
from voicestatus.discord.gateway.metrics import GatewayMetrics
from voicestatus.discord.gateway.portal import Portal
from voicestatus.discord.gateway.reconnect import GiveUp, Reconnect
from voicestatus.discord.gateway.session import Cause, Ended
from voicestatus.discord.gateway.shard import Memory, ShardService
from voicestatus.discord.gateway.status import State, Status, combined
from voicestatus.discord.gateway.wire import Login, Verdict
from voicestatus.discord.rest.client import RestClient, user_agent
from voicestatus.discord.rest.errors import (
    DiscordRefused,
    DiscordUnreachable,
    TokenRefused,
)
from voicestatus.journal.service import Journal
from voicestatus.store.documents import Documents
from voicestatus.tasks import Tasks

_OUTGROWN: Final = "Discord wants more shards"


class GatewayService(Service):
    """Keeps the bot online and hands on what Discord says, whatever happens.

    It says of which shards the bot consists; `nodes` says when each is run here. Only
    a refusal that no retry can mend ends a link: then `status` says what the owner has
    to change, and the process lives on.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        token: str,
        rest: RestClient,
        api_url: str,
        features: Collection[Feature],
        deliver: Callable[[int, Event, float], object],
        documents: Documents,
        journal: Journal,
        nodes: Nodes,
        registry: CollectorRegistry,
        reactor: Any,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        jitter: Callable[[], float],
        hear_news: Callable[[GuildNews], object] = lambda _: None,
        shard_count: int | None = None,
        compress: str | None = "zstd-stream",
        trust_root: Certificate | None = None,
        witness: Witness | None = None,
    ) -> None:
        """Open nothing yet.

        `deliver` gets a shard's event and the `monotonic` time at which its bytes
        arrived; `hear_news` gets what shards that are held here tell besides. `rest`
        is its giver's to close, after this. The shards begin when `journal` has
        restored what their sessions stand for. Without `shard_count` there are as many
        as other nodes have or could be resumed, else as Discord recommends, and more
        when it insists. `jitter` draws from [0, 1). `trust_root` stands in for the
        system's authorities.
        """
        super().__init__()
        metrics = GatewayMetrics(registry)
        self._gate = IdentifyGate(rest, documents, nodes.turns, metrics, reactor, wall)
        self._portal = Portal(features, rest, reactor)
        self._journal, self._nodes = journal, nodes
        self._jitter, self._clock = jitter, reactor
        wished = intents(features)
        allow_plain = not api_url.startswith("https:")

        def endpoint(url: str) -> IStreamClientEndpoint:
            return endpoint_to(
                url, reactor, trust_root=trust_root, allow_plain=allow_plain
            )

        def link(shard: int, count: int, memory: Memory) -> ShardService:
            return ShardService(
                Login(token, wished, (shard, count)),
                partial(deliver, shard),
                api=rest,
                gate=self._gate,
                portal=self._portal,
                memory=memory,
                around=Surroundings(
                    reactor,
                    monotonic,
                    metrics,
                    witness,
                    partial(nodes.terms.lasts, shard),
                ),
                endpoint=endpoint,
                jitter=jitter,
                agent=user_agent(version("voicestatus")),
                outgrown=self._outgrown if shard_count is None else None,
                hear_news=hear_news,
                compress=compress,
            )

        self._make_link = link
        self._fixed_count = shard_count
        self._count = 0
        self._shards: list[HeldShard] = []
        self._own: Status | None = Status(State.WAITING)
        """While it is not about the shards but about their number."""
        self._closing: set[Deferred[None]] = set()
        self._tasks = Tasks()
        nodes.spread.follow(self._changed)

    @property
    def status(self) -> Status:
        """How the link is: that of the shard that is worst off."""
        of_shards = [shard.status for shard in self._shards]
        if (own := self._own) is None:
            return combined(of_shards)
        if own.problem is None:
            own = replace(own, problem=self._nodes.spread.problem)
        return combined([own, *of_shards])

    @property
    def switched_off(self) -> Mapping[Feature, str]:
        """Which of the features are off, and what the owner can do about it.

        What the portal allows is asked when a link begins; until then nothing is off.
        """
        return self._portal.switched_off

    @property
    def in_step(self) -> bool:
        """Whether this node knows of every shard what its holder knows."""
        return all(map(self._nodes.presences.in_step, range(self._count)))

    def startService(self) -> None:
        super().startService()
        self._tasks.spawn("looking at the features", self._portal.look())
        self._tasks.spawn("sharding", self._begin())

    def stopService(self) -> Deferred[None]:
        """Fire when the connections are closed; the links must have ended before."""
        super().stopService()
        self._tasks.cancel()
        return Deferred.fromCoroutine(self._closed())

    async def _closed(self) -> None:
        for closing in tuple(self._closing):
            await closing

    def _wait_for(self, closing: Deferred[None]) -> None:
        self._closing.add(closing)
        closing.addErrback(lambda f: self._log.failure("a link did not close", f))
        closing.addCallback(lambda _: self._closing.discard(closing))

    # ---- how many shards -----------------------------------------------------------

    async def _begin(self) -> None:
        resumable = await self._journal.shard_count()
        spread, fixed = self._nodes.spread, self._fixed_count
        wished = fixed or await spread.current() or resumable
        wished = wished or await self._recommended()
        if wished is not None:
            self._changed(await spread.agree(wished, ANY if fixed else None))

    def _outgrown(self) -> None:
        if self._own is None:  # else it is being done
            self._own = Status(State.WAITING, _OUTGROWN)
            self._tasks.spawn("sharding anew", self._spread_anew())

    async def _spread_anew(self) -> None:
        before = self._count
        count = await self._recommended()
        if count is not None:
            self._log.warn(
                "Discord wants more shards: {before} become {count}",
                before=before,
                count=count,
            )
            self._changed(await self._nodes.spread.agree(count, before))

    def _changed(self, count: int) -> None:
        """Go by so many; what was known of the guilds stands until it is told."""
        if count == self._count and self._own is None:
            return
        if self._fixed_count not in {None, count}:
            self._log.warn(
                "there are {count} shards: a node that was started later says so",
                count=count,
            )
        presences = self._nodes.presences
        for shard in range(self._count):
            presences.detach(shard)
        self._count, self._own = count, None
        self._journal.spread(count)
        self._shards = [
            HeldShard(
                shard,
                partial(self._make_link, shard, count),
                self._journal,
                presences,
                self._wait_for,
            )
            for shard in range(count)
        ]
        for shard, held in enumerate(self._shards):
            presences.attach(shard, held, count)

    async def _recommended(self) -> int | None:
        """Ask until Discord names more than there are; None: that is settled."""
        reconnect = Reconnect()
        while self._own is not None:  # else another node knows
            ended = Ended(Cause.UNREACHABLE, None)
            try:
                count = (await self._gate.ask()).shards
            except TokenRefused:
                ended = replace(ended, code=4004, verdict=Verdict.STOP)
            except (DiscordUnreachable, DiscordRefused, ProtocolError) as e:
                self._log.warn("Discord is out of reach: {why}", why=str(e))
                self._own = Status(State.WAITING, f"Discord is out of reach: {e}")
            else:
                if count > self._count:
                    return count
            if not self.running:  # not every cancelled wait says that it was
                return None
            plan = reconnect.after(ended, self._jitter())
            if isinstance(plan, GiveUp):
                sentence = wire.advice(plan.code, 0)
                self._log.critical("the link has stopped: {why}", why=sentence)
                self._own = Status(State.STOPPED, sentence)
                return None
            await deferLater(self._clock, plan.after_s)
        return None
