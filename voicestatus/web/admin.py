"""The API, its live channels, and who may use them, as one part."""

from collections.abc import Callable
from dataclasses import replace

from prometheus_client import CollectorRegistry
from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource
from twisted.web.server import Request

from voicestatus.cluster.messages import Messages
from voicestatus.community.service import Community
from voicestatus.devices.door import Door
from voicestatus.devices.registry import Registry
from voicestatus.hub import Hub
from voicestatus.ota.catalogue import Catalogue
from voicestatus.ota.rollouts import Rollouts
from voicestatus.ota.several import Several
from voicestatus.services import Row
from voicestatus.store.documents import Store
from voicestatus.web.access import Access, DiscordApp
from voicestatus.web.admin_socket import (
    AdminSocketFactory,
    AdminSocketMetrics,
    AdminSocketService,
)
from voicestatus.web.api.audit import AuditSubject
from voicestatus.web.api.descriptions import DescriptionsSubject
from voicestatus.web.api.devices import DevicesSubject
from voicestatus.web.api.flash import FlashSubject, ProvisioningSubject
from voicestatus.web.api.guilds import GuildsSubject
from voicestatus.web.api.invites import InvitesSubject
from voicestatus.web.api.organizations import OrganizationsSubject
from voicestatus.web.api.presence import PresenceSubject
from voicestatus.web.api.privacy import PrivacySubject
from voicestatus.web.api.ranks import RanksSubject
from voicestatus.web.api.releases import ReleasesSubject
from voicestatus.web.api.resource import Api
from voicestatus.web.api.rollouts import RolloutsSubject
from voicestatus.web.api.rules import Explainer, RulesSubject
from voicestatus.web.api.status import StatusSubject
from voicestatus.web.api.voice_stream import VoiceStreamSubject
from voicestatus.web.audit import Audit
from voicestatus.web.commands import Commands, Probes
from voicestatus.web.everywhere import Everywhere
from voicestatus.web.flash_images import FlashImages
from voicestatus.web.health import ExactTree, NotFound
from voicestatus.web.permits import DiscordStanding, Permits
from voicestatus.web.privacy.traces import (
    ApiTokenTraces,
    AuditTraces,
    RosterTraces,
    RuleTraces,
    SessionTraces,
    Trace,
    VoiceTraces,
)
from voicestatus.web.pruner import Pruner
from voicestatus.web.request_ids import RequestIds
from voicestatus.web.rollouts_everywhere import (
    AnyRollouts,
    RolloutsEverywhere,
    RolloutsHere,
)
from voicestatus.web.sse import EventStreams, StreamMetrics


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
        store: Store,
        door: Door,
        metrics: CollectorRegistry,
        clock: IReactorTime,
        wall: Callable[[], float],
        new_id: Callable[[], str],
        new_secret: Callable[[], str],
        public_url: str | None,
        local_url: str,
        version: str,
        device_path: str,
        catalogue: Catalogue,
        rollouts: Rollouts,
        probes: Probes,
        status: StatusSubject,
        messages: Messages | None = None,
        several: Several | None = None,
        discord: DiscordApp | None = None,
        community: Community | None = None,
    ) -> None:
        """Take clocks of the reactor and of Unix seconds, and a source of short ids.

        Without `discord` the admin token is the only way to sign in. `messages` go
        between this node and others, and `several` are its updates; None: it is alone.
        `local_url` stands in where nobody has said how the server is found.
        """
        super().__init__()
        audit, ids = Audit(store, wall), RequestIds(new_id)
        if discord is not None and community is not None:
            standing = DiscordStanding(
                community.membership, hub.presence, discord.trusted
            )
            discord = replace(discord, standing=standing, arrived=community.signed_in)
        access = Access(
            token=token,
            documents=store,
            audit=audit,
            addresses=door.addresses,
            public_url=public_url or local_url,
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
        flash_images = FlashImages(store, clock)
        traces: list[Trace] = [
            *([] if community is None else [RosterTraces(community.roster)]),
            RuleTraces(devices),
            ApiTokenTraces(store),
            VoiceTraces(hub.presence),
            AuditTraces(store),
            SessionTraces(access.sessions),
        ]
        subjects: list[object] = [
            PresenceSubject(hub.presence),
            DevicesSubject(devices, everywhere, commands, audit, clock),
            RulesSubject(explainer),
            AuditSubject(audit),
            *access.subjects,
            ReleasesSubject(catalogue, audit, clock),
            RolloutsSubject(conducted, audit),
            FlashSubject(catalogue, flash_images),
            ProvisioningSubject(devices, audit, public_url, device_path),
            status,
            PrivacySubject(traces, store, audit, wall),
        ]
        if community is not None:
            subjects += _of_community(community, hub, audit)
        self.descriptions = DescriptionsSubject(subjects, version, device_path)
        streams = EventStreams(clock, door, StreamMetrics(metrics))
        api = Api([*subjects, self.descriptions], access.gate, ids, streams)
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
            flash_images,
            *([] if community is None else [community]),
            api,
            streams,
            AdminSocketService(self.socket, clock),
        ):
            part.setServiceParent(self)


def _of_community(community: Community, hub: Hub, audit: Audit) -> list[object]:
    """Return the subjects of the Discord integration."""
    guilds, organizations = community.guilds, community.organizations
    permits = Permits(community.membership, organizations, guilds)
    return [
        GuildsSubject(
            guilds, community.activity, community.application, organizations, permits
        ),
        VoiceStreamSubject(permits, community.streams),
        OrganizationsSubject(
            organizations,
            community.roster,
            community.profiles,
            permits,
            hub.presence,
            audit,
        ),
        InvitesSubject(community.invites, organizations, permits),
        RanksSubject(community.ranks, organizations, permits, audit),
    ]


class _Versions(ExactTree):
    """What stands at `/api`: nothing of its own."""

    def render(self, request: Request) -> bytes:
        return NotFound().render(request)
