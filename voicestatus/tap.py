"""The one place where the parts meet: options, settings, and who knows whom."""

import random
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from socket import gethostname
from time import monotonic, perf_counter, time
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from pydantic import SecretStr
from twisted.application.service import IServiceCollection, Service
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import quoteStringArgument, serverFromString
from twisted.internet.interfaces import IProtocolFactory, IReactorTime
from twisted.logger import ILogObserver, Logger
from twisted.python import usage
from twisted.python.components import Componentized
from twisted.web.resource import Resource

from voicestatus.cluster.metrics import NodeMetrics
from voicestatus.cluster.service import Nodes, OneOfSeveral, join
from voicestatus.community.service import Community
from voicestatus.core.addresses import Addresses
from voicestatus.core.admission import Limits
from voicestatus.core.features import Feature, intents
from voicestatus.core.guild_news import GuildNews
from voicestatus.core.manifest import PublicKey
from voicestatus.core.matching import Counting
from voicestatus.core.ports import Lights
from voicestatus.core.presence import Event, Presence
from voicestatus.core.storage_address import parse as parse_storage
from voicestatus.core.storage_address import secrets_of
from voicestatus.devices.door import Door
from voicestatus.devices.metrics import DeviceMetrics, DoorMetrics
from voicestatus.devices.registry import Registry
from voicestatus.devices.service import DeviceFactory, DeviceService
from voicestatus.discord.gateway.service import GatewayService
from voicestatus.discord.rest.client import RestClient
from voicestatus.hub import Hub
from voicestatus.journal.records import made_for
from voicestatus.journal.service import Journal
from voicestatus.lights import LightGroups
from voicestatus.logs import observer
from voicestatus.open_files import OTHER_FILES, openable, raise_limit
from voicestatus.options import VERSION, Options
from voicestatus.ota.downloads_everywhere import ProbesEverywhere
from voicestatus.ota.probe import Probes
from voicestatus.ota.rollout_ports import Devices
from voicestatus.ota.rollout_ports import Probes as AnyProbes
from voicestatus.ota.rollouts import Rollouts
from voicestatus.ota.several import Several
from voicestatus.ota.signs import Signs
from voicestatus.services import Row
from voicestatus.settings import Settings
from voicestatus.store.documents import Store
from voicestatus.store.open import open_store
from voicestatus.trace.lines import FORMAT, Header
from voicestatus.trace.recorder import Recorder
from voicestatus.web.access import DiscordApp
from voicestatus.web.admin import AdminSide
from voicestatus.web.api.status import StatusSubject
from voicestatus.web.front import Front, UpgradeResource
from voicestatus.web.health import (
    ExactTree,
    JsonAnswer,
    Vitals,
    health,
    liveness,
    readiness,
)
from voicestatus.web.listen import Listener
from voicestatus.web.metrics import Metrics, ReactorLag
from voicestatus.web.ota import OtaSide
from voicestatus.web.pages import Dashboard
from voicestatus.web.site import QuietSite

_log = Logger()
ADMIN_SOCKET = "/admin/ws"
TOKEN_BYTES = 32
REQUEST_ID_BYTES = 8
ROLLOUT_ID_BYTES = 5
BACKLOG = 1024
SIGN_IN_PATIENCE_S = 15.0


class Program(Row):
    """Everything that runs; in the foreground it also says how to log."""

    def __init__(self, log: ILogObserver | None = None) -> None:
        super().__init__()
        self._observer = log

    def setServiceParent(self, parent: IServiceCollection) -> None:
        # twistd asks its application how to log, before anything is started.
        if self._observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)


def makeService(options: Options) -> Program:
    """Make the program; started, it serves until it is stopped."""
    from twisted.internet import reactor  # noqa: PLC0415 - the one place that has it

    # Twisted's timers follow wall time, which jumps (a Raspberry Pi has no clock of its
    # own): set back, it would stop heartbeats and pings for as long as it jumped.
    reactor.seconds = monotonic  # type: ignore[method-assign] # on purpose, see above
    settings, listen = options.settings, options["listen"]
    raise_limit(settings.max_connections + OTHER_FILES)
    program = Program(_log_of(settings) if _in_foreground(options.parent) else None)
    if options.made_up is None:
        build(settings, reactor, listen, program, options.record)
    else:
        _build_demo(settings, reactor, listen, program, options.made_up, options.record)
    for line in options.unreadable:
        _log.warn("line {line} of the settings file is not NAME=VALUE", line=line)
    if settings.admin_token is None:
        _log.info("the admin side is closed: ADMIN_TOKEN is not set")
    if settings.discord_client_id and settings.discord_client_secret is None:
        _log.warn("nobody can sign in with Discord: DISCORD_CLIENT_SECRET is not set")
    return program


def _build_demo(
    settings: Settings,
    reactor: Any,
    listen: Sequence[str],
    program: Row,
    made_up: Mapping[str, str],
    record: Path | None,
) -> None:
    # The simulator is a third of all imports.
    from voicestatus.demo import Narrator, simulated_discord  # noqa: PLC0415

    discord, api_url = simulated_discord(settings.guild_id, reactor)
    discord.setServiceParent(program)
    settings = settings.model_copy(update={"discord_api_url": api_url})
    lights = build(settings, reactor, listen, program, record)
    front = next(part for part in program if isinstance(part, Listener))
    used = {
        "ESP_AUTH_TOKEN": _revealed(settings.esp_auth_token),
        "ADMIN_TOKEN": _revealed(settings.admin_token),
    }
    # A token of the owner's is not shown, not even here.
    shown = {name: value for name, value in made_up.items() if used[name] == value}
    narrator = Narrator(front, settings.ws_path, shown, lights, sys.stdout)
    narrator.setServiceParent(program)


def build(
    settings: Settings,
    reactor: Any,
    listen: Sequence[str],
    program: Row,
    record: Path | None = None,
) -> Lights:
    """Make the parts, tell each whom it needs, and put them in a row.

    Nothing is opened. In the row stands first what the others need to the very end.
    A trace of the Gateway is written to `record`, if given.

    :raises SystemExit: when one of `listen` is no endpoint.
    """
    metrics = _registry()
    store = open_store(settings.storage_url, reactor)
    hub = Hub(Presence(settings.guild_id))
    nodes = join(
        parse_storage(settings.storage_url),
        _node_name(),
        hub,
        reactor,
        lease_s=settings.lease_s,
    )
    others = nodes.messages if isinstance(nodes, OneOfSeveral) else None
    lights = LightGroups(
        hub,
        reactor,
        time,
        Counting(settings.count_bots, settings.count_afk),
        off_after_s=settings.unknown_after_s,
        hold=settings.unknown_policy == "hold",
    )
    door = Door(
        reactor,
        DoorMetrics(metrics),
        Limits(openable(settings.max_connections), settings.max_per_address),
        Addresses(settings.trusted_proxies),
    )
    device_metrics = DeviceMetrics(metrics)
    devices = Registry(
        store,
        reactor,
        device_metrics,
        enrolment=settings.enrolment,
        wall=time,
        make_token=partial(secrets.token_urlsafe, TOKEN_BYTES),
        public_url=settings.public_url,
        others=others,
    )
    signs = DeviceFactory(
        lights,
        settings.esp_auth_token.get_secret_value().encode(),
        reactor,
        device_metrics,
        door,
        devices,
        time,
    )
    journal = Journal(
        hub,
        store,
        made_for=made_for(
            settings.discord_token.get_secret_value(),
            settings.discord_api_url,
            intents(settings.features),
            settings.guild_id,
        ),
        clock=reactor,
        wall=time,
        registry=metrics,
    )
    nodes.when_emptied(journal.rewrite)
    nodes.when_emptied(devices.refill)
    if isinstance(nodes, OneOfSeveral):
        metrics.register(NodeMetrics(nodes))
    recorder = _recorder(record, settings, hub, reactor)
    http = _HttpApi(settings, reactor)
    community = _community(settings, http.rest, hub, store, reactor)
    gateway = GatewayService(
        token=settings.discord_token.get_secret_value(),
        rest=http.rest,
        api_url=settings.discord_api_url,
        features=settings.features,
        deliver=_timed(nodes.presences.deliver, signs, metrics),
        documents=store,
        journal=journal,
        nodes=nodes,
        registry=metrics,
        reactor=reactor,
        monotonic=perf_counter,
        wall=time,
        jitter=random.SystemRandom().random,
        shard_count=settings.shards,
        witness=recorder,
        hear_news=_nobody_hears if community is None else community.hear,
    )
    Gauge(
        "voicestatus_voice_users",
        "People who count for a sign without a rule.",
        registry=metrics,
    ).set_function(lambda: lights.everything.count)
    vitals = _vitals(settings, store, hub, lights, signs, gateway, reactor)
    health_leaf = JsonAnswer(lambda: health(vitals()))
    pages: dict[str, Resource] = {
        "/health": health_leaf,
        "/livez": JsonAnswer(lambda: liveness(vitals())),
        "/readyz": JsonAnswer(lambda: readiness(vitals())),
        "/metrics": Metrics(metrics, _revealed(settings.metrics_token)),
    }
    sockets: dict[str, IProtocolFactory] = {settings.ws_path: signs}
    updates = _updates(settings, store, devices, nodes, door, metrics, reactor)
    secret = settings.discord_client_secret
    people = None if secret is None else _people(settings, secret, http.rest)
    admin = None
    if settings.admin_token is not None:
        admin = AdminSide(
            token=settings.admin_token.get_secret_value(),
            hub=hub,
            devices=devices,
            explainer=lights,
            store=store,
            door=door,
            metrics=metrics,
            clock=reactor,
            wall=time,
            new_id=_new_id,
            new_secret=partial(secrets.token_urlsafe, TOKEN_BYTES),
            public_url=settings.public_url,
            local_url=f"http://localhost:{settings.port}",
            version=VERSION,
            device_path=settings.ws_path,
            catalogue=updates.ota.catalogue,
            rollouts=updates.rollouts,
            probes=updates.probes,
            several=updates.several,
            messages=others,
            status=StatusSubject(
                metrics,
                vitals,
                store,
                parse_storage(settings.storage_url),
                lambda: gateway.switched_off,
            ),
            discord=people,
            community=community,
        )
        sockets[ADMIN_SOCKET] = admin.socket
    dashboard = Dashboard(closed=admin is None)
    upgrades = {path: UpgradeResource(factory) for path, factory in sockets.items()}
    root = ExactTree({**dashboard.pages, **pages, **upgrades})
    root.putChild(b"dashboard", dashboard.assets)
    root.putChild(b"ota", updates.ota.pages)
    if admin is not None:
        root.putChild(b"api", admin.pages)
        root.putChild(b"auth", admin.sign_in)
    site = (
        QuietSite(root, reactor)
        if admin is None
        else QuietSite(root, reactor, admin.too_large, admin.receiver_of)
    )
    routes = {path.encode(): factory for path, factory in sockets.items()}
    front = Front(reactor, site, routes, door)
    serves = f"signs at {settings.ws_path}, health at /health"
    endpoints = listen or [_own(settings.port, settings)]
    parts: list[Service] = [
        store,
        journal,
        *([recorder] if recorder else []),
        http,
        gateway,
        updates.ota,
        *([updates.several] if updates.several else []),
        nodes,
        devices,
        lights,
        ReactorLag(reactor, metrics),
        DeviceService(signs, reactor),
        *([admin] if admin else []),
        *(_listener(text, front, reactor, serves) for text in endpoints),
    ]
    if settings.health_port is not None:
        alone = QuietSite(ExactTree({"/health": health_leaf}), reactor)
        parts.append(
            _listener(
                _own(settings.health_port, settings), alone, reactor, "/health alone"
            )
        )
    for part in parts:
        part.setServiceParent(program)
    return lights


def _community(
    settings: Settings,
    rest: RestClient,
    hub: Hub,
    store: Store,
    reactor: Any,
) -> Community | None:
    """Make the Discord integration, where it is wanted and there is a way in."""
    if Feature.COMMUNITY not in settings.features or settings.admin_token is None:
        return None
    client_id = settings.discord_client_id
    return Community(
        rest=rest,
        hub=hub,
        documents=store,
        client_id=None if client_id is None else int(client_id),
        clock=reactor,
        wall=time,
        new_id=_new_id,
    )


def _nobody_hears(_news: GuildNews) -> None:
    """Let go what nobody here has a use for."""


def _new_id() -> str:
    return secrets.token_hex(REQUEST_ID_BYTES)


def _node_name() -> str:
    """Return a name that no other process has, nor had."""
    return f"{gethostname()}-{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class _Updates:
    """The parts that bring firmware to devices."""

    ota: OtaSide
    probes: Probes | ProbesEverywhere
    rollouts: Rollouts
    several: Several | None = None
    """None: there are no other nodes."""


def _updates(
    settings: Settings,
    store: Store,
    devices: Registry,
    nodes: Nodes,
    door: Door,
    metrics: CollectorRegistry,
    reactor: Any,
) -> _Updates:
    ota = OtaSide(
        store=store,
        keys=[PublicKey.parse(key) for key in settings.ota_public_keys],
        door=door,
        metrics=metrics,
        clock=reactor,
        wall=time,
        make_token=partial(secrets.token_urlsafe, TOKEN_BYTES),
        bearer=devices.bearer,
        by_mac=devices.by_mac,
    )
    signs, probes = Signs(devices), Probes(devices, ota.downloads, reactor, time)

    def rollouts_over(devices: Devices, probes: AnyProbes) -> Rollouts:
        return Rollouts(
            store,
            devices,
            ota.catalogue,
            ota.downloads,
            probes,
            reactor,
            metrics,
            wall=time,
            make_id=partial(secrets.token_hex, ROLLOUT_ID_BYTES),
            holds=nodes.holds_timers,
        )

    if isinstance(nodes, OneOfSeveral):
        several = Several(
            signs,
            ota.catalogue,
            ota.downloads,
            probes,
            nodes.messages,
            reactor,
            time,
            rollouts_over,
        )
        nodes.own_timers(several.seat)
        return _Updates(ota, several.probes, several.rollouts, several)
    rollouts = rollouts_over(signs, probes)
    nodes.own_timers(rollouts)
    ota.catalogue.needed = rollouts.needed
    ota.downloads.assigned = rollouts.assigned
    return _Updates(ota, probes, rollouts)


class _HttpApi(Service):
    """Discord's HTTP API, one client for all: its limits are those of all calls."""

    def __init__(self, settings: Settings, reactor: Any) -> None:
        self.rest = RestClient(
            settings.discord_api_url,
            settings.discord_token.get_secret_value(),
            reactor,
            version=VERSION,
            jitter=random.SystemRandom().random,
            monotonic=perf_counter,
        )

    def stopService(self) -> Deferred[None]:
        """Close it, when nobody who calls runs any more."""
        super().stopService()
        return self.rest.close()


def _people(settings: Settings, secret: SecretStr, rest: RestClient) -> DiscordApp:
    """Make what people sign in with."""
    if not settings.guild_id:
        _log.warn("nobody becomes an admin by Discord: GUILD_ID is not set")
    client_id = settings.discord_client_id or ""
    oauth = rest.within(SIGN_IN_PATIENCE_S).oauth(client_id, secret.get_secret_value())
    return DiscordApp(oauth, settings.guild_id)


def _recorder(
    path: Path | None, settings: Settings, hub: Hub, clock: IReactorTime
) -> Recorder | None:
    if path is None:
        return None
    about = Header(
        format=FORMAT,
        version=VERSION,
        started=int(time()),
        intents=intents(settings.features),
        shards=settings.shards or 1,
        guilds=settings.guild_id,
        count_bots=settings.count_bots,
        count_afk=settings.count_afk,
        unknown_policy=settings.unknown_policy,
        unknown_after_s=settings.unknown_after_s,
    )
    return Recorder(path, about, hub.presence, clock, perf_counter)


def _registry() -> CollectorRegistry:
    disable_created_metrics()
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    about = Info("voicestatus", "What is running.", registry=registry)
    about.info({"version": VERSION})
    return registry


def _own(port: int, settings: Settings) -> str:
    return f"tcp:{port}:interface={quoteStringArgument(settings.host)}"


def _listener(
    text: str, factory: IProtocolFactory, reactor: Any, serves: str
) -> Listener:
    try:
        endpoint = serverFromString(reactor, _with_backlog(text))
    except Exception as e:  # noqa: BLE001 - each kind of endpoint has errors of its own
        raise SystemExit(f"cannot listen on {text}: {e}") from None
    return Listener(text, endpoint, factory, serves)


def _with_backlog(text: str) -> str:
    """Let a whole fleet dial at once: Twisted's 50 makes signs wait for seconds."""
    kind, _, _ = text.partition(":")
    named = kind in {"tcp", "tcp6", "ssl", "unix"} and ":backlog=" not in text
    return f"{text}:backlog={BACKLOG}" if named else text


def _timed(
    apply: Callable[[int, Event], object],
    devices: DeviceFactory,
    registry: CollectorRegistry,
) -> Callable[[int, Event, float], None]:
    """Measure from an event's bytes to the last sign's, where a light changed."""
    took = Histogram(
        "voicestatus_event_to_frame_seconds",
        "From the arrival of an event to the light's frame in every sign's socket.",
        registry=registry,
        buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
    )

    def deliver(shard: int, event: Event, arrived_at: float) -> None:
        flips = devices.flips
        apply(shard, event)
        if devices.flips != flips:
            took.observe(perf_counter() - arrived_at)

    return deliver


def _vitals(
    settings: Settings,
    store: Store,
    hub: Hub,
    lights: LightGroups,
    devices: DeviceFactory,
    gateway: GatewayService,
    clock: IReactorTime,
) -> Callable[[], Vitals]:
    started_at = clock.seconds()

    def vitals() -> Vitals:
        status = gateway.status
        guilds = settings.guild_id or tuple(hub.presence.guilds)
        return Vitals(
            discord_ready=status.ready,
            discord_heard=hub.presence.heard,
            gateway=status.state.value,
            problem=status.problem,
            store_problem=store.problem,
            in_step=gateway.in_step,
            guild=guilds[0] if len(guilds) == 1 else None,
            voice_users=lights.everything.count,
            signs=devices.connected,
            uptime_s=clock.seconds() - started_at,
            version=VERSION,
        )

    return vitals


def _in_foreground(twistd: usage.Options | None) -> bool:
    """Whether `twistd -n` runs us and was not told itself where to log."""
    told: Mapping[str, object] = twistd or {}
    return bool(told.get("nodaemon")) and not (
        told.get("logfile") or told.get("syslog") or told.get("logger")
    )


def _log_of(settings: Settings) -> ILogObserver:
    secrets_ = (
        settings.discord_token,
        settings.esp_auth_token,
        settings.admin_token,
        settings.metrics_token,
        settings.discord_client_secret,
    )
    return observer(
        sys.stdout,
        settings.log_level,
        settings.log_format,
        [
            *(text for secret in secrets_ if (text := _revealed(secret))),
            *secrets_of(settings.storage_url),
        ],
    )


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
