"""What is stored of rollouts, of each device in them, and what devices did before."""

from dataclasses import dataclass

from msgspec import Struct
from msgspec.structs import replace

from voicestatus.core.rollout_state import DeviceState, Phase, Rollout
from voicestatus.store.documents import Change, Documents
from voicestatus.store.typed import Typed

ROLLOUT = "rollout"
DEVICE = "rollout-device"
"""The parent of each is its rollout, and the id is `<rollout>/<device>`."""
PAST = "rollout-past"
"""By device."""


class Past(Struct, frozen=True, omit_defaults=True):
    """What must be known of a device after its rollouts are over."""

    failed: tuple[str, ...] = ()
    """The releases that it has failed with."""
    runs: str = ""
    """The release that an old device runs since `at`: it cannot say so itself."""
    at: float = 0.0
    """Unix seconds."""


NO_PAST = Past()
UNSURE = "?"
"""Stands for a release: an old device fetched one, and nobody knows what it made of it.
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What was stored when we began."""

    rollouts: tuple[Rollout, ...]
    states: dict[str, tuple[DeviceState, ...]]
    """By rollout; of those that are alive."""
    pasts: dict[str, Past]


class Records:
    """Rollouts as documents."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._rollouts = Typed(documents, ROLLOUT, Rollout)
        self._devices = Typed(documents, DEVICE, DeviceState)
        self._pasts = Typed(documents, PAST, Past)

    async def load(self) -> tuple[Found, list[Change]]:
        """Return what is stored, and what of it is to be deleted: it never began.

        :raises StoreError: when it cannot be read.
        """
        rollouts, states = [], {}
        gone: list[Change] = []
        for stored in await self._rollouts.list():
            rollout = stored.value
            if not rollout.enlisted:
                gone += await self.deleting(rollout.id)
                continue
            rollouts.append(rollout)
            if rollout.alive:
                states[rollout.id] = await self.states(rollout.id)
        pasts = {stored.id: stored.value for stored in await self._pasts.list()}
        return Found(tuple(rollouts), states, pasts), gone

    async def states(self, rollout: str) -> tuple[DeviceState, ...]:
        """Return the devices of a rollout, by id.

        :raises StoreError: when they cannot be read.
        """
        return tuple(stored.value for stored in await self._devices.list(rollout))

    async def deleting(self, rollout: str) -> list[Change]:
        """Return what deletes a rollout; itself last, so that the rest is found again.

        :raises StoreError: when its devices cannot be read.
        """
        left = await self._devices.list(rollout)
        devices = [self._devices.deleting(each.id) for each in left]
        return [*devices, self._rollouts.deleting(rollout)]

    def rollout(self, rollout: Rollout) -> Change:
        return self._rollouts.putting(rollout.id, rollout)

    def device(self, rollout: str, state: DeviceState) -> Change:
        id_ = f"{rollout}/{state.device}"
        return self._devices.putting(id_, state, parent=rollout)

    def past(self, device: str, past: Past) -> Change:
        if past == NO_PAST:
            return self._pasts.deleting(device)
        return self._pasts.putting(device, past)


def past_after(past: Past, state: DeviceState, *, legacy: bool) -> Past:
    """Return what is to be remembered of a device when it came so far."""
    others = tuple(release for release in past.failed if release != state.release)
    if state.phase is Phase.FAILED:
        runs = UNSURE if past.runs == state.release else past.runs
        return replace(past, failed=(*others, state.release), runs=runs)
    if state.phase is Phase.FETCHED and legacy:
        return replace(past, runs=state.release, at=state.since)
    if state.phase is Phase.CONFIRMED:
        return replace(past, failed=others)
    return past
