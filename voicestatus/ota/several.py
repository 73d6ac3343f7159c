"""Updates on one of several nodes, as one part."""

from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime

from voicestatus.cluster.messages import Messages
from voicestatus.ota.catalogue import Catalogue
from voicestatus.ota.catalogue_news import CatalogueNews
from voicestatus.ota.downloads import Downloads
from voicestatus.ota.downloads_everywhere import DownloadsEverywhere, ProbesEverywhere
from voicestatus.ota.mirror import Mirror
from voicestatus.ota.probe import Probes
from voicestatus.ota.rollout_ports import Devices
from voicestatus.ota.rollout_ports import Probes as AnyProbes
from voicestatus.ota.rollouts import Rollouts
from voicestatus.ota.seat import Seat
from voicestatus.ota.signs import Signs
from voicestatus.ota.signs_everywhere import SignsEverywhere
from voicestatus.ota.telling import Telling
from voicestatus.services import Row

MakeRollouts = Callable[[Devices, AnyProbes], Rollouts]


class Several(Row):
    """Makes the rollouts of a node that is not alone, and all that they need there.

    `seat` is what one node alone may have.
    """

    def __init__(
        self,
        signs: Signs,
        catalogue: Catalogue,
        downloads: Downloads,
        probes: Probes,
        messages: Messages,
        clock: IReactorTime,
        wall: Callable[[], float],
        make: MakeRollouts,
    ) -> None:
        """`make` makes the rollouts over the devices and probes of all nodes."""
        super().__init__()
        self.seat = Seat(messages, clock, lambda: self.rollouts)
        self.probes = ProbesEverywhere(probes, messages)
        telling = Telling(signs, downloads, messages, clock, wall)
        self.devices = SignsEverywhere(
            signs,
            downloads,
            telling,
            self.seat,
            messages,
            clock,
            wall=wall,
            conducts=lambda: self.rollouts.loaded,
        )
        self.rollouts = make(self.devices, self.probes)
        self.seat.subscribe(telling.heed)
        self.mirror = Mirror(self.rollouts, self.seat, messages)
        downloads.elsewhere = DownloadsEverywhere(
            downloads,
            catalogue.get,
            self.rollouts.assigned,
            self.seat,
            messages,
            clock,
        )
        downloads.assigned = self.rollouts.assigned
        catalogue.needed = self.mirror.needed
        catalogue.needed_elsewhere = self.mirror.needed_elsewhere
        for part in (
            CatalogueNews(catalogue, messages, clock),
            _Ending(telling.stop),
            _Ending(self.mirror.stop),
        ):
            part.setServiceParent(self)


class _Ending(Service):
    """Stops what is no service."""

    def __init__(self, stop: Callable[[], object]) -> None:
        self._stop = stop

    def stopService(self) -> None:
        super().stopService()
        self._stop()
