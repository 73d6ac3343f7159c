"""What nodes tell each other of updates, as JSON. Pure."""

from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from voicestatus.core.chip import Chip
from voicestatus.core.eligibility import Facts
from voicestatus.core.errors import Refusal
from voicestatus.devices.wire import Offer, OtaReport
from voicestatus.ota import updater
from voicestatus.ota.rollout_views import RolloutView

CALL: Final = "updates-call"
TELL: Final = "updates-tell"
OFFER: Final = "updates-offer"
PROBE: Final = "updates-probe"
NONCE: Final = "updates-nonce"
ANSWERED: Final = "updates-answered"
ASSIGNED: Final = "updates-assigned"
RELEASE: Final = "updates-release"
NEWS: Final = "updates-news"
ALIVE: Final = "updates-alive"
NEEDED: Final = "updates-needed"

T = TypeVar("T")


class Call(Struct, frozen=True, omit_defaults=True):
    """The node that conducts the rollouts says so, again and again."""

    node: str
    term: int
    """Higher than that of any node which conducted them before."""
    busy: bool = True
    """Whether it wants to be told of devices: a rollout is alive, or may be."""
    news: int = 0
    """How often it has told news of rollouts."""
    over: bool = False
    """It does so no more."""


class Seen(Struct, frozen=True, array_like=True):
    """A device as its node sees it, as far as no record of it says that at once."""

    id: str
    connected_at: float
    introduced: bool
    boot: str
    rtt_ms: float | None
    lit: bool
    legacy: bool
    chip: str
    board: str
    version: str
    build: int | None
    caps: tuple[str, ...]


class Reported(Struct, frozen=True, tag="r"):
    """What a device said of its update."""

    device: str
    report: OtaReport


class Downloaded(Struct, frozen=True, tag="d"):
    """How far a device has come with an image; see `downloads.Fetched`."""

    device: str
    release: str
    sent_bytes: int
    whole: bool


Happened = Reported | Downloaded


class Bundle(Struct, frozen=True, omit_defaults=True):
    """What a node tells the one that conducts; `now` is by its own clock."""

    node: str
    now: float
    here: tuple[Seen, ...] = ()
    away: tuple[str, ...] = ()
    happened: tuple[Happened, ...] = ()
    first: bool = False
    """Whether nothing was told before."""
    more: bool = False
    """Whether the next one follows at once."""


class Sent(Struct, frozen=True):
    """An offer, by way of the node where the device is."""

    term: int
    device: str
    release: str
    path: str
    md5: str
    chip: str
    version: str
    size_bytes: int
    sha256: str
    manifest: str


class RolloutNews(Struct, frozen=True):
    """A rollout is different."""

    term: int
    number: int
    """Of the news of that term."""
    view: RolloutView


class Alive(Struct, frozen=True):
    """The rollouts that are alive, or were known to be by who asked."""

    news: int
    """How many of the term are in it."""
    views: tuple[RolloutView, ...]


class Nonce(Struct, frozen=True):
    """A probe is awaited by a node."""

    node: str
    digest: str
    for_s: float


class Answered(Struct, frozen=True):
    """A device has asked at a probe's path, at another node."""

    nonce: str
    facts: updater.Facts


encode = msgspec.json.encode


def decode(body: bytes, type_: type[T]) -> T:
    """:raises Refusal: `NOT_SERVED`: it is of another version."""
    try:
        return msgspec.json.decode(body, type=type_)
    except msgspec.DecodeError as e:
        raise Refusal("NOT_SERVED", f"a node of another version: {e}") from None


def hearing(type_: type[T], take: Callable[[T], object]) -> Callable[[bytes], object]:
    """Return what hears news; those of another version are none."""

    def hear(body: bytes) -> None:
        with suppress(Refusal):
            take(decode(body, type_))

    return hear


def seen_of(facts: Facts) -> Seen | None:
    """Return what is told of a device; None: it is not connected."""
    if facts.connected_at is None:
        return None
    return Seen(
        id=facts.id,
        connected_at=facts.connected_at,
        introduced=facts.introduced,
        boot=facts.boot,
        rtt_ms=facts.rtt_ms,
        lit=facts.lit,
        legacy=facts.legacy,
        chip=facts.chip,
        board=facts.board,
        version=facts.version,
        build=facts.build,
        caps=facts.caps,
    )


def sent_of(term: int, device: str, offer: Offer) -> Sent:
    return Sent(
        term=term,
        device=device,
        release=offer.release,
        path=offer.path,
        md5=offer.md5,
        chip=offer.chip.title,
        version=offer.version,
        size_bytes=offer.size_bytes,
        sha256=offer.sha256,
        manifest=offer.manifest,
    )


def offer_in(sent: Sent) -> Offer:
    """:raises Refusal: `NOT_SERVED`: its chip is not known here."""
    if (chip := Chip.named(sent.chip)) is None:
        raise Refusal("NOT_SERVED", f"the chip {sent.chip} is not known here")
    return Offer(
        release=sent.release,
        path=sent.path,
        md5=sent.md5,
        chip=chip,
        version=sent.version,
        size_bytes=sent.size_bytes,
        sha256=sent.sha256,
        manifest=sent.manifest,
    )
