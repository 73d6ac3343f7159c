"""`/firmware/rollouts`: releases on their way to devices, in stages."""

from http import HTTPStatus
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from voicestatus.core.plan import Plan
from voicestatus.core.rollout_state import Phase
from voicestatus.web import rollout_desk
from voicestatus.web import rollout_views as views
from voicestatus.web.api.endpoint import endpoint
from voicestatus.web.audit import Audit, Caller
from voicestatus.web.auth.identity import Scope
from voicestatus.web.rollout_desk import (
    ListAll,
    ListDevices,
    Order,
    Page,
    RollBack,
    Show,
    Start,
    Try,
    entries_of,
)
from voicestatus.web.rollout_views import PhaseName
from voicestatus.web.rollouts_everywhere import AnyRollouts

PATH = "/firmware/rollouts"
AWAY = ("NODE_UNREACHABLE", "STORE_UNAVAILABLE")
"""How one is refused while it is not known, or cannot be asked, how they are."""
UNSURE = (*AWAY, "FATE_UNKNOWN")
ORDERED = ("ROLLOUT_NOT_FOUND", "ROLLOUT_OVER", *UNSURE)
"""How one is refused who says what a rollout is to do."""

Limit = Annotated[int, Meta(ge=1, le=1000, description="how many at most")]
After = Annotated[str, Meta(description="the `next` of the page before this one")]
PlanBody = Annotated[
    Plan,
    Meta(
        examples=[
            {
                "releases": ["esp32-14-0f1e2d3c"],
                "target": {"tags": ["office"]},
                "stages": [{"count": 1}, {"percent": 100, "soakS": 3600}],
            }
        ]
    ),
]


class RolloutsQuery(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Which page."""

    limit: Limit = 100
    after: After = ""


class RolloutDevicesQuery(
    Struct, frozen=True, forbid_unknown_fields=True, rename="camel"
):
    """Which devices of a rollout."""

    limit: Limit = 100
    after: After = ""
    phase: Annotated[
        PhaseName | UnsetType, Meta(description="those that are so far")
    ] = UNSET


class Retry(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Devices that failed, or were skipped."""

    devices: Annotated[
        tuple[str, ...],
        Meta(min_length=1, max_length=1000, examples=[["hall-lamp"]]),
    ]


class RolloutsSubject:
    """The rollouts, for admins."""

    def __init__(self, rollouts: AnyRollouts, audit: Audit) -> None:
        self._ask, self._audit = rollouts.ask, audit

    @endpoint("GET", PATH, refuses=AWAY)
    async def list_(self, query: RolloutsQuery) -> views.RolloutPage:
        """List rollouts, the newest first."""
        return await self._ask(ListAll(_page(query)), views.RolloutPage)

    @endpoint(
        "POST",
        PATH,
        HTTPStatus.CREATED,
        scope=Scope.FIRMWARE,
        refuses=("RELEASE_NOT_FOUND", *UNSURE),
    )
    async def start(self, body: PlanBody, caller: Caller) -> views.Rollout:
        """Begin a rollout.

        Devices that are away get it when they come back; of several rollouts only the
        newest counts for a device.
        """
        also = self._audit.entry(
            caller, "rollout.start", ", ".join(body.releases), _written(body)
        )
        return await self._ask(Start(body, entries_of(also)), views.Rollout)

    @endpoint(
        "POST",
        f"{PATH}/dry-run",
        scope=Scope.READ,
        refuses=("RELEASE_NOT_FOUND", *AWAY),
    )
    async def preview(
        self, query: RolloutsQuery, body: PlanBody
    ) -> views.RolloutPreview:
        """Tell who would be updated in which stage, and who skipped and why."""
        return await self._ask(Try(body, _page(query)), views.RolloutPreview)

    @endpoint("GET", f"{PATH}/<rollout>", refuses=("ROLLOUT_NOT_FOUND", *AWAY))
    async def show(self, rollout: str) -> views.RolloutReport:
        """Show a rollout: how far it is, who failed and why, who was skipped."""
        return await self._ask(Show(rollout), views.RolloutReport)

    @endpoint("GET", f"{PATH}/<rollout>/devices", refuses=("ROLLOUT_NOT_FOUND", *AWAY))
    async def devices(
        self, rollout: str, query: RolloutDevicesQuery
    ) -> views.RolloutDevicePage:
        """List the devices of a rollout, by id."""
        phase = None if query.phase is UNSET else Phase(query.phase)
        asked = ListDevices(rollout, _page(query), phase)
        return await self._ask(asked, views.RolloutDevicePage)

    @endpoint("POST", f"{PATH}/<rollout>/pause", scope=Scope.FIRMWARE, refuses=ORDERED)
    async def pause(self, rollout: str, caller: Caller) -> views.Rollout:
        """Offer nothing more for now; devices that were offered it go on."""
        return await self._order("pause", rollout, caller)

    @endpoint("POST", f"{PATH}/<rollout>/resume", scope=Scope.FIRMWARE, refuses=ORDERED)
    async def resume(self, rollout: str, caller: Caller) -> views.Rollout:
        """Go on, also after it has halted: its failures are forgiven then."""
        return await self._order("resume", rollout, caller)

    @endpoint("POST", f"{PATH}/<rollout>/abort", scope=Scope.FIRMWARE, refuses=ORDERED)
    async def abort(self, rollout: str, caller: Caller) -> views.Rollout:
        """Offer nothing more for good; devices that fetch it go on."""
        return await self._order("abort", rollout, caller)

    @endpoint(
        "POST",
        f"{PATH}/<rollout>/rollback",
        scope=Scope.FIRMWARE,
        refuses=ORDERED,
    )
    async def rollback(self, rollout: str, caller: Caller) -> views.RolledBack:
        """Abort it, and give back what devices ran before, where they can take it.

        That can old devices alone: who checks signatures takes no lower build.
        """
        also = self._audit.entry(caller, "rollout.rollback", rollout)
        asked = RollBack(rollout, entries_of(also))
        return await self._ask(asked, views.RolledBack)

    @endpoint(
        "POST",
        f"{PATH}/<rollout>/retry",
        scope=Scope.FIRMWARE,
        refuses=(*ORDERED, "DEVICE_NOT_IN_ROLLOUT"),
    )
    async def retry(self, rollout: str, body: Retry, caller: Caller) -> views.Rollout:
        """Give devices that failed, or were skipped, another chance."""
        also = self._audit.entry(caller, "rollout.retry", rollout, _written(body))
        asked = rollout_desk.Retry(rollout, body.devices, entries_of(also))
        return await self._ask(asked, views.Rollout)

    async def _order(
        self, what: Literal["pause", "resume", "abort"], rollout: str, caller: Caller
    ) -> views.Rollout:
        also = self._audit.entry(caller, f"rollout.{what}", rollout)
        return await self._ask(Order(what, rollout, entries_of(also)), views.Rollout)


def _page(query: RolloutsQuery | RolloutDevicesQuery) -> Page:
    return Page(query.limit, query.after)


def _written(body: Struct) -> dict[str, object]:
    """Return what a body names, as it is written down."""
    told: dict[str, object] = msgspec.to_builtins(body)
    return told
