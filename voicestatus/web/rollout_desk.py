"""What is asked of the rollouts, and its answers: the same on whichever node."""

from bisect import bisect_right
from collections.abc import Callable
from typing import Literal, TypeVar

from msgspec import Struct

from voicestatus.core.errors import StoreError
from voicestatus.core.plan import Plan
from voicestatus.core.rollout_state import Phase
from voicestatus.ota.rollouts import Rollouts
from voicestatus.store.documents import ANY, Change, Put
from voicestatus.web import rollout_views as views
from voicestatus.web.api.reading import invalid

T = TypeVar("T")


class Entry(Struct, frozen=True, array_like=True):
    """A document that is written with what is done."""

    kind: str
    id: str
    body: bytes
    parent: str


Entries = tuple[Entry, ...]


def entries_of(changes: tuple[Change, ...]) -> Entries:
    """Return what is written for the audit log: documents, whatever is there."""
    return tuple(map(_entry_of, changes))


def _entry_of(change: Change) -> Entry:
    if not isinstance(change, Put) or change.expected is not ANY:
        raise TypeError("another node would write it otherwise")
    return Entry(change.kind, change.id, change.body, change.parent)


def _puts(entries: Entries) -> tuple[Change, ...]:
    return tuple(Put(one.kind, one.id, one.body, one.parent) for one in entries)


class Page(Struct, frozen=True):
    """Which part of a list."""

    limit: int
    after: str


class ListAll(Struct, frozen=True, tag="list"):
    """Answered by a `RolloutPage`."""

    page: Page


class Show(Struct, frozen=True, tag="show"):
    """Answered by a `RolloutReport`."""

    rollout: str


class ListDevices(Struct, frozen=True, tag="devices"):
    """Answered by a `RolloutDevicePage`."""

    rollout: str
    page: Page
    phase: Phase | None


class Try(Struct, frozen=True, tag="try"):
    """Answered by a `RolloutPreview`."""

    plan: Plan
    page: Page


class Start(Struct, frozen=True, tag="start"):
    """Answered by a `Rollout`."""

    plan: Plan
    also: Entries


class Order(Struct, frozen=True, tag="order"):
    """Answered by a `Rollout`."""

    what: Literal["pause", "resume", "abort"]
    rollout: str
    also: Entries


class Retry(Struct, frozen=True, tag="retry"):
    """Answered by a `Rollout`."""

    rollout: str
    devices: tuple[str, ...]
    also: Entries


class RollBack(Struct, frozen=True, tag="rollback"):
    """Answered by a `RolledBack`."""

    rollout: str
    also: Entries


Read = ListAll | Show | ListDevices | Try
Write = Start | Order | Retry | RollBack
Request = Read | Write


async def answer(rollouts: Rollouts, request: Request) -> Struct:
    """Do what is asked.

    :raises Refusal: as the rollouts do.
    """
    match request:
        case ListAll(page):
            if not rollouts.loaded:
                raise StoreError("the rollouts are not read yet")
            found, following = cut(rollouts.rollouts(), page, lambda view: view.id)
            return views.RolloutPage([*map(views.rollout_of, found)], following)
        case Show(rollout):
            states = await rollouts.devices(rollout)
            return views.report_of(rollouts.get(rollout), states)
        case ListDevices(rollout, page, phase):
            all_ = await rollouts.devices(rollout, phase)
            first = bisect_right(all_, page.after, key=lambda state: state.device)
            some = all_[first : first + page.limit]
            more = first + page.limit < len(all_)
            shown = [*map(views.device_of, some)]
            return views.RolloutDevicePage(shown, some[-1].device if more else None)
        case Try(plan, page):
            preview = await rollouts.dry_run(plan)
            turns, following = cut(
                views.turns_of(preview), page, lambda turn: turn.device
            )
            return views.preview_of(preview, turns, following)
        case Start(plan, also):
            return views.rollout_of(await rollouts.start(plan, also=_puts(also)))
        case Order(what, rollout, also):
            act = {
                "pause": rollouts.pause,
                "resume": rollouts.resume,
                "abort": rollouts.abort,
            }[what]
            return views.rollout_of(await act(rollout, also=_puts(also)))
        case Retry(rollout, devices, also):
            view = await rollouts.retry(rollout, devices, also=_puts(also))
            return views.rollout_of(view)
        case RollBack(rollout, also):
            undone = await rollouts.rollback(rollout, also=_puts(also))
            return views.rolled_back_of(undone)


def cut(
    found: list[T], page: Page, id_of: Callable[[T], str]
) -> tuple[list[T], str | None]:
    """Cut a page out of what is not in the order of its ids.

    :raises Refusal: there is none `after`.
    """
    first = 0
    if page.after:
        ids = [id_of(one) for one in found]
        if page.after not in ids:
            text = f"{page.after} is not in the list any more: begin anew"
            raise invalid("after", text)
        first = ids.index(page.after) + 1
    some = found[first : first + page.limit]
    more = first + page.limit < len(found)
    return some, id_of(some[-1]) if more else None
