"""What rollouts ask of other parts."""

from collections.abc import Callable, Sequence
from typing import Protocol

from voicestatus.core.eligibility import Facts
from voicestatus.core.release import Release
from voicestatus.devices.wire import OtaReport
from voicestatus.ota.downloads import Fetched


class Devices(Protocol):
    """What rollouts ask of the devices."""

    @property
    def loaded(self) -> bool:
        """Whether they are known; until then none seems to be there."""
        ...

    def ids(self) -> Sequence[str]:
        """Return the ids of all that are enrolled."""
        ...

    def look(self, id_: str) -> Facts | None:
        """Return what is known of a device; None: there is none."""
        ...

    def subscribe(self, tell: Callable[[str], object]) -> Callable[[], object]:
        """Tell the id of each device that came, went, changed; return the way out."""
        ...

    def subscribe_reports(
        self, tell: Callable[[str, OtaReport], object]
    ) -> Callable[[], object]:
        """Tell what devices say of their updates; return the way out."""
        ...

    async def offer(self, id_: str, release: Release, path: str) -> None:
        """Offer a device a release that it can fetch from `path`.

        :raises Refusal: when it was not sent.
        """
        ...

    def prolong(self, id_: str) -> None:
        """Take it that a device which was sent away is still busy."""
        ...


class Catalogue(Protocol):
    """Where releases come from."""

    loaded: bool

    def get(self, id_: str) -> Release | None: ...

    def releases(self) -> Sequence[Release]: ...


class Downloads(Protocol):
    """Who lets devices fetch."""

    async def grant(self, device: str, release: Release) -> str:
        """Let a device fetch, and nothing that it was granted before."""
        ...

    async def withdraw(self, device: str) -> None:
        """Let a device fetch nothing any more that it was granted."""
        ...

    def subscribe(self, tell: Callable[[Fetched], object]) -> Callable[[], object]: ...


class Probes(Protocol):
    """Who asks old devices."""

    async def probe(self, device: str) -> object:
        """:raises Refusal: when it did not answer."""
        ...
