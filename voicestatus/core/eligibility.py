"""Which device gets which release, and if none: why not. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from voicestatus.core.chip import Chip
from voicestatus.core.fleet import Device
from voicestatus.core.lights import EVERYTHING, RuleText
from voicestatus.core.plan import Plan
from voicestatus.core.release import Release

CAN_UPDATE = "ota-ed25519"
"""The capability of devices that check a signature and take an update."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a device at one moment, as far as an update needs it."""

    id: str
    tags: tuple[str, ...] = ()
    rule: RuleText = EVERYTHING
    approved: bool = True
    revoked: bool = False
    legacy: bool
    """Whether it speaks version 1: it reports nothing and checks no signature."""
    chip: str = ""
    """Empty: not known. Of an old device `esp32` may be any but an ESP8266."""
    board: str = ""
    version: str = ""
    build: int | None = None
    md5: str = ""
    """Of the image that it runs, when an old device has told it."""
    asked_at: float | None = None
    """When an old device told last what it runs; Unix seconds."""
    presumed: str = ""
    """The release that an old device runs, by what was served to it since."""
    caps: tuple[str, ...] = ()
    free_bytes: int | None = None
    """Room for an image; None: not known."""
    connected_at: float | None = None
    """Unix seconds; None: it is away."""
    introduced: bool = False
    """Whether it has said hello on this connection: until then what is known of its
    firmware may be what it was before."""
    boot: str = ""
    rtt_ms: float | None = None
    lit: bool = False
    busy: bool = False
    """Whether another rollout is in the midst of updating it."""
    rival: int | None = None
    """The build that another rollout still wants it to have."""
    failed: frozenset[str] = frozenset()
    """The releases that it has failed with."""

    @property
    def connected(self) -> bool:
        return self.connected_at is not None


def facts_of(device: Device, *, lit: bool = False) -> Facts:
    """Return what is known of an enrolled device; `lit`: its sign is on."""
    record, vitals, sketch = device.record, device.vitals, device.record.sketch
    return Facts(
        id=record.id,
        tags=record.tags,
        rule=EVERYTHING if record.rule is None else record.rule,
        approved=record.approved,
        revoked=record.revoked,
        # Not by this connection: it may not have said hello yet.
        legacy=record.build is None and not record.caps,
        chip=record.chip,
        board=record.board,
        version=record.fw,
        build=record.build,
        md5="" if sketch is None else sketch.md5,
        asked_at=None if sketch is None else sketch.asked_at,
        caps=record.caps,
        free_bytes=None if sketch is None else sketch.free_bytes,
        connected_at=vitals.connected_at,
        introduced=vitals.protocol >= 2,
        boot=vitals.boot,
        rtt_ms=vitals.rtt_ms,
        lit=lit,
    )


class Skip(Enum):
    """Why a device does not get a release."""

    OUTSIDE = "outside"
    """The target does not name it (any more)."""
    FORGOTTEN = "forgotten"
    REVOKED = "revoked"
    NOT_APPROVED = "not_approved"
    CANNOT_UPDATE = "cannot_update"
    """It speaks version 2 without the capability to update."""
    UNKNOWN_CHIP = "unknown_chip"
    """An old device that no probe has asked, or one that was never here."""
    UNCLEAR_CHIP = "unclear_chip"
    """Several of the releases could be for it, and only one of them is."""
    WRONG_CHIP = "wrong_chip"
    WRONG_BOARD = "wrong_board"
    NOT_FOR_LEGACY = "not_for_legacy"
    """It cannot check a signature, and no admin allowed the release for such."""
    UNTRUSTED = "untrusted"
    """No key that may sign releases today has signed the release."""
    EXPIRED = "expired"
    """The release's own date is over."""
    CURRENT = "current"
    NEWER = "newer"
    UNKNOWN_BUILD = "unknown_build"
    TOO_OLD = "too_old"
    """The release needs a build in between first."""
    NO_ROOM = "no_room"
    FAILED_BEFORE = "failed_before"
    OTHER_ROLLOUT = "other_rollout"
    """Another one is about to give it the same, or something newer."""
    ABORTED = "aborted"
    AWAY = "away"
    """It did not come while the rollout waited."""
    NOT_SENT = "not_sent"
    """The server cannot offer it; `said` tells why."""
    RELEASE_GONE = "release_gone"
    """The release was deleted."""
    BEYOND = "beyond"
    """The last stage was full before its turn came."""


MAY_CHANGE = frozenset(
    {
        Skip.REVOKED,
        Skip.NOT_APPROVED,
        Skip.CANNOT_UPDATE,
        Skip.UNKNOWN_CHIP,
        Skip.UNKNOWN_BUILD,
        Skip.TOO_OLD,
        Skip.NO_ROOM,
    }
)
"""Reasons that are looked at again when something is new about the device."""


@dataclass(frozen=True, slots=True)
class Eligible:
    """It gets this release."""

    release: Release


@dataclass(frozen=True, slots=True)
class Skipped:
    """It gets nothing. `release` would have been for it, as far as one is."""

    why: Skip
    release: Release | None = None


Verdict = Eligible | Skipped


class Judge:
    """Judges devices for one plan and its releases."""

    def __init__(self, plan: Plan, releases: Sequence[Release]) -> None:
        """`releases` are those that the plan names, as far as there are any."""
        self._target, self._again = plan.target, plan.again
        self._rules = plan.target.rule_texts()
        self._releases = tuple(releases)

    def names(self, facts: Facts) -> bool:
        """Whether the target names a device."""
        target = self._target
        return (
            _any(target.tags, facts.tags)
            and _any(target.chips, (facts.chip,))
            and _any(target.versions, (facts.version,))
            and _any(target.builds, (facts.build,))
            and _any(target.ids, (facts.id,))
            and (not self._rules or facts.rule in self._rules)
        )

    def verdict(self, facts: Facts, now: float, *, again: bool = False) -> Verdict:
        """Say what a device gets; `again`: even if it failed with it before."""
        if not self.names(facts):
            return Skipped(Skip.OUTSIDE)
        if facts.revoked:
            return Skipped(Skip.REVOKED)
        if not facts.approved:
            return Skipped(Skip.NOT_APPROVED)
        fitting = self._fitting(facts)
        if not isinstance(fitting, Release):
            return Skipped(fitting)
        why = _against(fitting, facts, now) if fitting.trusted else Skip.UNTRUSTED
        if why is None and fitting.id in facts.failed and not (again or self._again):
            why = Skip.FAILED_BEFORE
        if why is None and facts.rival is not None and facts.rival >= fitting.build:
            why = Skip.OTHER_ROLLOUT
        return Eligible(fitting) if why is None else Skipped(why, fitting)

    def _fitting(self, facts: Facts) -> Release | Skip:
        """Return the release for a chip and board; one that names the board wins.

        Of an old device the chip is half known: what no admin allowed for such is no
        choice.
        """
        if not facts.chip:
            return Skip.UNKNOWN_CHIP
        same = [one for one in self._releases if same_chip(one.chip, facts)]
        if not same:
            return Skip.WRONG_CHIP
        if facts.legacy and not (same := [one for one in same if one.legacy]):
            return Skip.NOT_FOR_LEGACY
        named = [one for one in same if one.board and one.board == facts.board]
        fitting = named or [one for one in same if not one.board]
        if not fitting:
            return Skip.WRONG_BOARD
        return fitting[0] if len(fitting) == 1 else Skip.UNCLEAR_CHIP


def _any(wanted: Sequence[object], has: Sequence[object]) -> bool:
    return not wanted or any(one in wanted for one in has)


def same_chip(chip: Chip, facts: Facts) -> bool:
    """Source: HTTPUpdate.cpp sends no chip id: all but the ESP8266 look alike."""
    if facts.legacy and facts.chip == Chip.ESP32.title:
        return chip.updater == Chip.ESP32.title and chip is not Chip.HOST
    return chip.title == facts.chip


def _against(release: Release, facts: Facts, now: float) -> Skip | None:
    """Say what speaks against a release that fits."""
    if facts.legacy:
        if runs(facts, release):
            return Skip.CURRENT
    elif CAN_UPDATE not in facts.caps:
        return Skip.CANNOT_UPDATE
    elif facts.build is None:
        return Skip.UNKNOWN_BUILD
    elif facts.build >= release.build:
        return Skip.CURRENT if facts.build == release.build else Skip.NEWER
    elif facts.build < release.min_build:
        return Skip.TOO_OLD
    if release.not_after and now > release.not_after:
        return Skip.EXPIRED
    if facts.free_bytes is not None and release.size_bytes > facts.free_bytes:
        return Skip.NO_ROOM
    return None


def runs(facts: Facts, release: Release) -> bool:
    """Whether a device runs a release, by all that is known."""
    if not facts.legacy:
        return facts.build == release.build
    if facts.presumed:
        return facts.presumed == release.id
    return release.md5 == facts.md5 or release.version == facts.version
