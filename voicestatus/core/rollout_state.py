"""How far a rollout is, and each of its devices: all that must survive. Pure."""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from msgspec import Struct

from voicestatus.core.plan import Plan


class Phase(Enum):
    """How far a device is."""

    PENDING = "pending"
    """It waits for its turn, or to be here."""
    OFFERED = "offered"
    FETCHING = "fetching"
    FETCHED = "fetched"
    """All bytes are with it; it has to come back."""
    REBOOTED = "rebooted"
    """It is back with the release, and is watched."""
    CONFIRMED = "confirmed"
    FAILED = "failed"
    SKIPPED = "skipped"
    SUPERSEDED = "superseded"
    """A newer rollout has it."""


UNDER_WAY: Final = frozenset(
    {Phase.OFFERED, Phase.FETCHING, Phase.FETCHED, Phase.REBOOTED}
)


class Fault(Enum):
    """Why an update of a device failed."""

    UNANSWERED = "unanswered"
    """It was here and took no notice of the offer, or never got to it in three."""
    REPORTED = "reported"
    """It said so itself; `said` has its words."""
    TIMED_OUT = "timed_out"
    """It did not get all bytes in time."""
    INTERRUPTED = "interrupted"
    """It was back before it had all bytes."""
    NOT_BACK = "not_back"
    OLD_BUILD = "old_build"
    """It had all bytes, and came back with what it ran before."""
    ROLLED_BACK = "rolled_back"
    """It tried the release and went back by itself."""
    CRASHED = "crashed"
    UNSTABLE = "unstable"
    """It lost its connection more often than the plan allows."""
    GONE = "gone"
    """It was back, and then was away for too long."""
    SLOW = "slow"
    """Its round trip became worse than the plan allows."""


class Before(Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a device ran, and how it was, when it was offered the release."""

    build: int | None = None
    version: str = ""
    md5: str = ""
    boot: str = ""
    rtt_ms: float | None = None


class DeviceState(
    Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """One device of a rollout. Times in Unix seconds."""

    device: str
    phase: Phase
    since: float
    """When this phase began."""
    release: str = ""
    """The one that it gets; empty where none is for it, or that is not known yet."""
    why: str = ""
    """A `Fault` when it failed, a `Skip` when it is skipped."""
    said: str = ""
    """The device's own words about what went wrong."""
    progress: int = 0
    """Percent of the bytes."""
    stage: int | None = None
    """The stage that touched it; None: its image cannot have reached the device."""
    tries: int = 0
    """Offers that were made."""
    offered_at: float | None = None
    before: Before | None = None
    drops: int = 0
    """How often it lost its connection since it was back."""
    link: float | None = None
    """Since when it is connected, as it was seen when it was offered the release, and
    then while it is watched."""
    settles_at: float | None = None
    """It is back without the release: until then that may change."""
    probed_at: float | None = None
    """When a probe of it was asked for."""
    again: bool = False
    """A person said: once more, although it failed."""
    forgiven: bool = False
    """A person went on in spite of this failure: it halts nothing any more."""
    adrift: bool = False
    """What it did may have escaped us: the server was started anew meanwhile."""
    took: bool = False
    """The image, or part of it, may have been in it: from then on it stays touched."""

    @property
    def doubtful(self) -> bool:
        """Whether it waits, and may have taken the image before."""
        return self.phase is Phase.PENDING and self.took and not self.again


class Tally(Struct, rename="camel"):
    """The devices that one stage has touched."""

    touched: int = 0
    confirmed: int = 0
    failed: int = 0
    """Without those that were forgiven."""


class Status(Enum):
    """What a rollout does."""

    RUNNING = "running"
    PAUSED = "paused"
    """By a person. Devices that were offered it go on."""
    HALTED = "halted"
    """By itself; `why` says which limit was met."""
    ABORTED = "aborted"
    ROLLING_BACK = "rolling_back"
    """Aborted, and others give devices that can take it what they ran before."""
    FINISHED = "finished"


class Halt(Enum):
    """Which limit halted a rollout."""

    STAGE = "stage"
    """The stage can no longer reach the success that it must."""
    PERCENT = "percent"
    COUNT = "count"


class Rollout(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A rollout as a whole. Times in Unix seconds."""

    id: str
    plan: Plan
    created_at: float
    status: Status = Status.RUNNING
    why: str = ""
    """Which `Halt`, while it is halted."""
    failures: tuple[str, ...] = ()
    """The devices that halted it, a hundred at most."""
    stage: int = 0
    sizes: tuple[int, ...]
    """By stage: how many devices may be touched in all."""
    soak_until: float | None = None
    """None: the stage is not full and well."""
    ended_at: float | None = None
    """When the last device of it was settled; None: it is alive."""
    counts: Mapping[str, int] = {}
    """How many devices were in which phase when it ended."""
    tallies: tuple[Tally, ...] = ()
    """By stage, when it ended."""
    undone_by: tuple[str, ...] = ()
    """The rollouts that give back what devices ran before."""
    enlisted: bool = True
    """Whether all its devices are stored; before that it does not count."""

    @property
    def alive(self) -> bool:
        return self.ended_at is None
