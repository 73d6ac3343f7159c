"""The live link to Discord, all shards of it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any, Final

from prometheus_client import CollectorRegistry
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import Certificate
from twisted.internet.task import deferLater
from twisted.logger import Logger

from voicestatus.core.errors import ProtocolError
from voicestatus.core.presence import Event
from voicestatus.core.session import SessionState
from voicestatus.discord.gateway import wire
from voicestatus.discord.gateway.connection import (
    Surroundings,
    Witness,
    endpoint_to,
)
from voicestatus.discord.gateway.gate import IdentifyGate
from voicestatus.discord.gateway.metrics import GatewayMetrics
from voicestatus.discord.gateway.reconnect import GiveUp, Reconnect
from voicestatus.discord.gateway.session import Cause, Ended
from voicestatus.discord.gateway.shard import ShardService
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


class GatewayService(MultiService):
    """Keeps the bot online and hands on what Discord says, whatever happens.

    Only a refusal that no retry can mend ends it: then `status` says what the owner
    has to change, and the process lives on.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        token: str,
        api_url: str,
        intents: int,
        deliver: Callable[[Event, float], object],
        documents: Documents,
        journal: Journal,
        registry: CollectorRegistry,
        reactor: Any,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        jitter: Callable[[], float],
        shard_count: int | None = None,
        shards: Sequence[int] | None = None,
        compress: str | None = "zstd-stream",
        trust_root: Certificate | None = None,
        witness: Witness | None = None,
    ) -> None:
        """Open nothing yet.

        `deliver` gets each event and the `monotonic` time at which its bytes arrived.
        The shards begin when `journal` has restored what their sessions stand for.
        Without `shard_count` there are as many as could be resumed, else as Discord
        recommends, and more when it insists. Only `shards` of them are run here, if
        given. `jitter` draws from [0, 1). `trust_root` stands in for the system's
        authorities.
        """
        super().__init__()
        release = version("voicestatus")
        self._api = RestClient(
            api_url,
            token,
            reactor,
            version=release,
            jitter=jitter,
            monotonic=monotonic,
            trust_root=trust_root,
        )
        metrics = GatewayMetrics(registry)
        self._gate = IdentifyGate(self._api, documents, metrics, reactor, wall)
        self._journal, self._jitter, self._clock = journal, jitter, reactor
        allow_plain = not api_url.startswith("https:")

        def endpoint(url: str) -> IStreamClientEndpoint:
            return endpoint_to(
                url, reactor, trust_root=trust_root, allow_plain=allow_plain
            )

        def shard(shard_id: int, count: int) -> ShardService:
            return ShardService(
                Login(token, intents, (shard_id, count)),
                deliver,
                api=self._api,
                gate=self._gate,
                journal=journal,
                around=Surroundings(reactor, monotonic, metrics, witness),
                endpoint=endpoint,
                jitter=jitter,
                agent=user_agent(release),
                outgrown=self._outgrown if shard_count is None else None,
                compress=compress,
            )

        self._make_shard = shard
        self._fixed_count, self._ours = shard_count, shards
        self._count = 0
        self._shards: dict[int, ShardService] = {}
        self._own: Status | None = Status(State.WAITING)
        """While it is not about the shards but about their number."""
        self._tasks = Tasks()

    @property
    def status(self) -> Status:
        """How the link is: that of the shard that is worst off."""
        of_shards = [shard.status for shard in self._shards.values()]
        return combined(of_shards if self._own is None else [self._own, *of_shards])

    def session_state(self, shard_id: int) -> SessionState | None:
        """What a Resume of that shard needs as of now.

        Within `deliver` it includes the event that is being delivered.
        """
        return self._shards[shard_id].session_state

    def startService(self) -> None:
        super().startService()
        self._tasks.spawn("sharding", self._begin())

    def stopService(self) -> Deferred[None]:
        """Close resumably; fires when the connections are closed."""
        stopping = super().stopService()
        self._tasks.cancel()

        async def stop() -> None:
            await stopping
            await self._api.close()

        return Deferred.fromCoroutine(stop())

    # ---- how many shards -----------------------------------------------------------

    async def _begin(self) -> None:
        resumable = await self._journal.shard_count()
        count = self._fixed_count or resumable or await self._recommended()
        if count is not None:
            self._spread(count)

    def _outgrown(self) -> None:
        if self._own is None:  # else it is being done
            self._own = Status(State.WAITING, _OUTGROWN)
            self._tasks.spawn("sharding anew", self._spread_anew())

    async def _spread_anew(self) -> None:
        count = await self._recommended()
        if count is None:
            return
        self._log.warn(
            "Discord wants more shards: {before} become {count}",
            before=self._count,
            count=count,
        )
        for shard in self._shards.values():
            shard.stopService().addBoth(self._part_with, shard)
        self._spread(count)

    @staticmethod
    def _part_with(result: object, closed: ShardService) -> object:
        # Not before: who stops the program waits for it, too.
        closed.disownServiceParent()
        return result

    def _spread(self, count: int) -> None:
        """Begin with so many; what was known of the guilds stands until it is told."""
        self._count, self._own = count, None
        ids = range(count) if self._ours is None else self._ours
        self._shards = {id_: self._make_shard(id_, count) for id_ in ids}
        self._journal.keep(count, self._shards)
        for shard in self._shards.values():
            shard.setServiceParent(self)

    async def _recommended(self) -> int | None:
        """Ask until Discord names more than there are; None: it refuses the token."""
        reconnect = Reconnect()
        while True:
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
