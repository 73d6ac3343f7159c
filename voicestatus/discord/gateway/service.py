"""The live link to Discord, all shards of it."""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import Certificate

from voicestatus.core.presence import Event
from voicestatus.core.session import SessionState
from voicestatus.discord.gateway.connection import Surroundings, endpoint_to
from voicestatus.discord.gateway.gate import IdentifyGate
from voicestatus.discord.gateway.metrics import GatewayMetrics
from voicestatus.discord.gateway.shard import ShardService
from voicestatus.discord.gateway.status import Status, combined
from voicestatus.discord.gateway.wire import Login
from voicestatus.discord.rest.client import RestClient, user_agent
from voicestatus.journal.service import Journal
from voicestatus.store.documents import Documents


class GatewayService(MultiService):
    """Keeps the bot online and hands on what Discord says, whatever happens.

    Only a refusal that no retry can mend ends it: then `status` says what the owner
    has to change, and the process lives on.
    """

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
        shards: Sequence[int] = (0,),
        shard_count: int = 1,
        compress: str | None = "zstd-stream",
        trust_root: Certificate | None = None,
    ) -> None:
        """Open nothing yet.

        `deliver` gets each event and the `monotonic` time at which its bytes arrived.
        A shard begins when `journal` has restored what its session stands for.
        `jitter` draws from [0, 1). `trust_root` stands in for the system's
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
        gate = IdentifyGate(self._api, documents, metrics, reactor, wall)
        allow_plain = not api_url.startswith("https:")

        def endpoint(url: str) -> IStreamClientEndpoint:
            return endpoint_to(
                url, reactor, trust_root=trust_root, allow_plain=allow_plain
            )

        self._shards: dict[int, ShardService] = {}
        for shard_id in shards:
            shard = self._shards[shard_id] = ShardService(
                Login(token, intents, (shard_id, shard_count)),
                deliver,
                api=self._api,
                gate=gate,
                journal=journal,
                around=Surroundings(reactor, monotonic, metrics),
                endpoint=endpoint,
                jitter=jitter,
                agent=user_agent(release),
                compress=compress,
            )
            shard.setServiceParent(self)

    @property
    def status(self) -> Status:
        """How the link is: that of the shard that is worst off."""
        return combined([shard.status for shard in self._shards.values()])

    def session_state(self, shard_id: int) -> SessionState | None:
        """What a Resume of that shard needs as of now.

        Within `deliver` it includes the event that is being delivered.
        """
        return self._shards[shard_id].session_state

    def subscribe(self, tell: Callable[[Status], object]) -> Callable[[], object]:
        """Tell the present status, then each change; return the way out."""
        ways_out = [
            shard.subscribe(lambda _: tell(self.status))
            for shard in self._shards.values()
        ]

        def leave() -> None:
            for way_out in ways_out:
                way_out()

        return leave

    def stopService(self) -> Deferred[None]:
        """Close resumably; fires when the connections are closed."""

        async def stop() -> None:
            await MultiService.stopService(self)
            await self._api.close()

        return Deferred.fromCoroutine(stop())
