"""`/status`: how the whole is, for its owner."""

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry

from voicestatus.core.features import Feature
from voicestatus.core.storage_address import Address
from voicestatus.store.documents import Store
from voicestatus.web.api.endpoint import endpoint
from voicestatus.web.health import Vitals
from voicestatus.web.readings import Readings
from voicestatus.web.status import Facts, Status, status_of


class StatusSubject:
    """Asks everybody, and puts it together."""

    def __init__(
        self,
        registry: CollectorRegistry,
        vitals: Callable[[], Vitals],
        store: Store,
        storage: Address,
        switched_off: Callable[[], Mapping[Feature, str]],
    ) -> None:
        self._registry, self._vitals, self._store = registry, vitals, store
        self._storage, self._switched_off = storage, switched_off

    @endpoint("GET", "/status")
    def show(self) -> Status:
        """Show how the server is, and what to do about what is wrong.

        Of several nodes it is the one that answers.
        """
        facts = Facts(
            self._vitals(), self._storage, self._store.risks, self._switched_off()
        )
        return status_of(facts, Readings.of(self._registry.collect()))
