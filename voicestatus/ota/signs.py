"""The devices of this node, as rollouts know them."""

from collections.abc import Callable, Sequence
from typing import Protocol

from voicestatus.core.eligibility import Facts, facts_of
from voicestatus.core.fleet import STRANGER, Device
from voicestatus.core.release import Release
from voicestatus.devices.registry import Showing
from voicestatus.devices.wire import Offer, OtaReport


class Registry(Protocol):
    """See `devices.registry.Registry`."""

    @property
    def loaded(self) -> bool: ...

    def ids(self) -> list[str]: ...

    def get(self, id_: str) -> Device | None: ...

    def is_here(self, id_: str) -> bool: ...

    def showing(self, id_: str) -> Showing | None: ...

    def subscribe(self, tell: Callable[[str], object]) -> Callable[[], object]: ...

    def subscribe_reports(
        self, tell: Callable[[str, OtaReport], object]
    ) -> Callable[[], object]: ...

    def offer(self, id_: str, offer: Offer) -> None: ...

    def prolong(self, id_: str) -> None: ...


class Signs:
    """Reads devices from the registry, and passes offers on to them."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.subscribe = registry.subscribe
        self.subscribe_reports = registry.subscribe_reports
        self.prolong = registry.prolong

    @property
    def loaded(self) -> bool:
        return self._registry.loaded

    def ids(self) -> Sequence[str]:
        """Return the ids of all that are enrolled."""
        return [id_ for id_ in self._registry.ids() if not id_.startswith(STRANGER)]

    def look(self, id_: str) -> Facts | None:
        """Return what is known of a device; None: there is none."""
        device = self._registry.get(id_)
        if device is None or not device.enrolled:
            return None
        showing = self._registry.showing(id_)
        return facts_of(device, lit=showing is not None and showing.light.on)

    def is_here(self, id_: str) -> bool:
        """Whether it is connected to this node."""
        return self._registry.is_here(id_)

    async def offer(self, id_: str, release: Release, path: str) -> None:
        """Offer a device a release that it can fetch from `path`.

        :raises Refusal: as `Registry.offer` does.
        """
        self.pass_on(id_, offer_of(release, path))

    def pass_on(self, id_: str, offer: Offer) -> None:
        """:raises Refusal: as `Registry.offer` does."""
        self._registry.offer(id_, offer)


def offer_of(release: Release, path: str) -> Offer:
    """Return the offer to fetch a release from `path`."""
    return Offer(
        release=release.id,
        path=path,
        md5=release.md5,
        chip=release.chip,
        version=release.version,
        size_bytes=release.size_bytes,
        sha256=release.sha256,
        manifest=release.manifest,
    )
