"""What happens to devices in a rollout, in words for people. Pure."""

from collections.abc import Mapping
from types import MappingProxyType

from voicestatus.core.eligibility import Skip
from voicestatus.core.rollout_state import Fault, Halt

FAULTS: Mapping[str, str] = MappingProxyType(
    {
        Fault.UNANSWERED.value: "took no notice of the offer",
        Fault.REPORTED.value: "refused it or failed",
        Fault.TIMED_OUT.value: "did not get all bytes in time",
        Fault.INTERRUPTED.value: "came back before it had all bytes",
        Fault.NOT_BACK.value: "did not come back",
        Fault.OLD_BUILD.value: "came back with what it ran before",
        Fault.ROLLED_BACK.value: "tried it and went back by itself",
        Fault.CRASHED.value: "crashed with it",
        Fault.UNSTABLE.value: "lost its connection too often with it",
        Fault.GONE.value: "came back with it and is away since",
        Fault.SLOW.value: "answers too slowly with it",
    }
)
SKIPS: Mapping[str, str] = MappingProxyType(
    {
        Skip.OUTSIDE.value: "not in the target any more",
        Skip.FORGOTTEN.value: "forgotten",
        Skip.REVOKED.value: "revoked",
        Skip.NOT_APPROVED.value: "not approved",
        Skip.CANNOT_UPDATE.value: "cannot update over the air",
        Skip.UNKNOWN_CHIP.value: "chip not known (--probe asks old signs)",
        Skip.UNCLEAR_CHIP.value: "several of the releases could be for it",
        Skip.WRONG_CHIP.value: "another chip",
        Skip.WRONG_BOARD.value: "another board",
        Skip.NOT_FOR_LEGACY.value: "old sign, and the release is not allowed for such",
        Skip.UNTRUSTED.value: "the release's key is trusted no more",
        Skip.EXPIRED.value: "the release's own date is over",
        Skip.CURRENT.value: "runs it already",
        Skip.NEWER.value: "runs something newer",
        Skip.UNKNOWN_BUILD.value: "what it runs is not known",
        Skip.TOO_OLD.value: "needs a build in between first",
        Skip.NO_ROOM.value: "no room for the image",
        Skip.FAILED_BEFORE.value: "failed with it before (rollout retry)",
        Skip.OTHER_ROLLOUT.value: "in another rollout",
        Skip.ABORTED.value: "aborted before its turn",
        Skip.AWAY.value: "away for too long",
        Skip.NOT_SENT.value: "could not be offered it",
        Skip.RELEASE_GONE.value: "the release was deleted",
        Skip.BEYOND.value: "the last stage was full",
    }
)
HALTS: Mapping[str, str] = MappingProxyType(
    {
        Halt.STAGE.value: "the stage can no longer become as good as it must",
        Halt.PERCENT.value: "too large a part has failed",
        Halt.COUNT.value: "too many have failed",
    }
)


UNDOS: Mapping[str, str] = MappingProxyType(
    {
        "takes_no_lower_build": "takes no lower build: the old code must be built "
        "and published as a newer one",
        "unknown_before": "what it ran before is not known",
        "no_such_release": "what it ran before is no release for old signs",
        "still_runs_it": "runs what it ran before",
        "under_way": "is in the midst of it: ask again when that is over",
        "forgotten": "forgotten",
    }
)
_OF_DEVICES = {**FAULTS, **SKIPS, **UNDOS}


def of_device(why: str, said: str = "") -> str:
    """Say why a device failed, is skipped or cannot be rolled back.

    `said` are its own words. A reason that is not known stays as it is.
    """
    words = _OF_DEVICES.get(why, why)
    return f"{words}: {said}" if said else words


def of_halt(why: str) -> str:
    """Say which limit was met; nothing if none was."""
    return HALTS.get(why, why)
