"""Renders the metrics that the rooms declare; measures how late the reactor is."""

import hmac
from http import HTTPStatus

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.exposition import choose_encoder
from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.web.server import Request

from voicestatus.web.site import Page


class Metrics(Page):
    """`GET /metrics` in Prometheus' text or OpenMetrics form, as the scraper asks."""

    def __init__(self, registry: CollectorRegistry, token: str | None) -> None:
        super().__init__()
        self._registry = registry
        self._bearer = None if token is None else f"Bearer {token}".encode()

    def render_GET(self, request: Request) -> bytes:
        given = request.getHeader(b"authorization") or b""
        if self._bearer is not None and not hmac.compare_digest(given, self._bearer):
            request.setResponseCode(HTTPStatus.UNAUTHORIZED)
            request.setHeader(b"www-authenticate", b"Bearer")
            request.setHeader(b"content-type", b"text/plain; charset=utf-8")
            return b"METRICS_TOKEN is wanted as a bearer token\n"
        accept = (request.getHeader(b"accept") or b"").decode("latin-1")
        encode, content_type = choose_encoder(accept)
        request.setHeader(b"content-type", content_type.encode())
        return encode(self._registry)


class ReactorLag(Service):
    """Measures each second how late a timer fires: what else had to wait, too."""

    def __init__(self, clock: IReactorTime, registry: CollectorRegistry) -> None:
        self._clock = clock
        self._lag = Histogram(
            "voicestatus_reactor_lag_seconds",
            "How late a timer of the reactor fired.",
            registry=registry,
            buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
        )
        self._call: IDelayedCall | None = None

    def startService(self) -> None:
        super().startService()
        self._wait()

    def stopService(self) -> None:
        super().stopService()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _wait(self) -> None:
        self._call = self._clock.callLater(1, self._fired, self._clock.seconds() + 1)

    def _fired(self, due: float) -> None:
        self._lag.observe(max(0.0, self._clock.seconds() - due))
        self._wait()
