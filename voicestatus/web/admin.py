"""The admin side as one part: the API, the live channel, and who may use them."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry
from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource
from twisted.web.server import Request

from voicestatus.cluster.messages import Messages
from voicestatus.devices.door import Door
from voicestatus.devices.registry import Registry
from voicestatus.hub import Hub
from voicestatus.ota.catalogue import Catalogue
from voicestatus.ota.rollouts import Rollouts
from voicestatus.ota.several import Several
from voicestatus.services import Row
from voicestatus.store.documents import Documents
from voicestatus.web.access import Access, DiscordApp
from voicestatus.web.admin_socket import (
    AdminSocketFactory,
    AdminSocketMetrics,
    AdminSocketService,
)
from voicestatus.web.api.audit import AuditSubject
from voicestatus.web.api.descriptions import DescriptionsSubject
from voicestatus.web.api.devices import DevicesSubject
from voicestatus.web.api.presence import PresenceSubject
from voicestatus.web.api.releases import ReleasesSubject
from voicestatus.web.api.resource import Api
from voicestatus.web.api.rollouts import RolloutsSubject
from voicestatus.web.api.rules import Explainer, RulesSubject
from voicestatus.web.audit import Audit
from voicestatus.web.commands import Commands, Probes
from voicestatus.web.everywhere import Everywhere
from voicestatus.web.health import ExactTree, NotFound
from voicestatus.web.pruner import Pruner
from voicestatus.web.request_ids import RequestIds
from voicestatus.web.rollouts_everywhere import (
    AnyRollouts,
    RolloutsEverywhere,
    RolloutsHere,
)


class AdminSide(Row):
    """Made only where there is a token.

    `pages` stands at `/api`, `sign_in` at `/auth`; `socket` takes upgrades at
    `/admin/ws`.
    """

    def __init__(
        self,
        *,
        token: str,
        hub: Hub,
        devices: Registry,
        explainer: Explainer,
        documents: Documents,
        door: Door,
        metrics: CollectorRegistry,
        clock: IReactorTime,
        wall: Callable[[], float],
        new_id: Callable[[], str],
        new_secret: Callable[[], str],
        public_url: str,
        version: str,
        device_path: str,
        catalogue: Catalogue,
        rollouts: Rollouts,
        probes: Probes,
        messages: Messages | None = None,
        several: Several | None = None,
        discord: DiscordApp | None = None,
    ) -> None:
        """Take clocks of the reactor and of Unix seconds, and a source of short ids.

        Without `discord` the admin token is the only way to sign in. `messages` go
        between this node and others, and `several` are its updates; None: it is alone.
        """
        super().__init__()
        audit, ids = Audit(documents, wall), RequestIds(new_id)
        access = Access(
            token=token,
            documents=documents,
            audit=audit,
            addresses=door.addresses,
            public_url=public_url,
            discord=discord,
            guilds=lambda: hub.presence.guilds,
            metrics=metrics,
            clock=clock,
            wall=wall,
            ids=ids,
            new_secret=new_secret,
        )
        everywhere = Everywhere(devices, explainer, messages)
        conducted: AnyRollouts = RolloutsHere(rollouts)
        if several is not None and messages is not None:
            conducted = RolloutsEverywhere(several, messages)
        commands = Commands(everywhere, audit, probes, conducted)
        subjects: list[object] = [
            PresenceSubject(hub.presence),
            DevicesSubject(devices, everywhere, commands, audit, clock),
            RulesSubject(explainer),
            AuditSubject(audit),
            *access.subjects,
            ReleasesSubject(catalogue, audit, clock),
            RolloutsSubject(conducted, audit),
        ]
        self.descriptions = DescriptionsSubject(subjects, version, device_path)
        api = Api([*subjects, self.descriptions], access.gate, ids)
        self.sign_in = access.pages
        self.pages: Resource = _Versions({})
        self.pages.putChild(b"v1", api.resource)
        self.too_large, self.receiver_of = api.too_large, api.receiver_of
        """For the site that serves the pages."""
        self.socket = AdminSocketFactory(
            hub,
            devices,
            everywhere,
            commands,
            (catalogue, conducted),
            access.gate,
            door,
            new_id,
            AdminSocketMetrics(metrics),
            clock,
        )
        for part in (
            access,
            Pruner("the audit log", audit.prune, clock),
            api,
            AdminSocketService(self.socket, clock),
        ):
            part.setServiceParent(self)


class _Versions(ExactTree):
    """What stands at `/api`: nothing of its own."""

    def render(self, request: Request) -> bytes:
        return NotFound().render(request)
