"""The admin side as one part: the API, the live channel, and who may use them."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry
from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource
from twisted.web.server import Request

from voicestatus.devices.door import Door
from voicestatus.devices.registry import Registry
from voicestatus.hub import Hub
from voicestatus.services import Row
from voicestatus.store.documents import Documents
from voicestatus.web.admin_socket import (
    AdminSocketFactory,
    AdminSocketMetrics,
    AdminSocketService,
)
from voicestatus.web.api.audit import AuditSubject
from voicestatus.web.api.descriptions import DescriptionsSubject
from voicestatus.web.api.devices import DevicesSubject
from voicestatus.web.api.presence import PresenceSubject
from voicestatus.web.api.resource import Api
from voicestatus.web.api.rules import Explainer, RulesSubject
from voicestatus.web.audit import Audit, AuditPruner
from voicestatus.web.auth import Gate, GateMetrics
from voicestatus.web.commands import Commands
from voicestatus.web.health import ExactTree, NotFound
from voicestatus.web.request_ids import RequestIds


class AdminSide(Row):
    """Made only where there is a token.

    `pages` stands at `/api`; `socket` takes upgrades at `/admin/ws`.
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
        version: str,
        device_path: str,
    ) -> None:
        """Take clocks of the reactor and of Unix seconds, and a source of short ids."""
        super().__init__()
        gate = Gate(token.encode(), clock, door.addresses, GateMetrics(metrics))
        audit = Audit(documents, wall)
        commands = Commands(devices, audit)
        subjects: list[object] = [
            PresenceSubject(hub.presence),
            DevicesSubject(devices, explainer, commands, audit, clock),
            RulesSubject(explainer),
            AuditSubject(audit),
        ]
        self.descriptions = DescriptionsSubject(subjects, version, device_path)
        api = Api([*subjects, self.descriptions], gate, RequestIds(new_id))
        self.pages: Resource = _Versions({})
        self.pages.putChild(b"v1", api.resource)
        self.too_large = api.too_large
        """For the site that serves the pages."""
        self.socket = AdminSocketFactory(
            hub,
            devices,
            commands,
            gate,
            door,
            new_id,
            AdminSocketMetrics(metrics),
            clock,
        )
        for part in (
            gate,
            AuditPruner(audit, clock),
            api,
            AdminSocketService(self.socket, clock),
        ):
            part.setServiceParent(self)


class _Versions(ExactTree):
    """What stands at `/api`: nothing of its own."""

    def render(self, request: Request) -> bytes:
        return NotFound().render(request)
