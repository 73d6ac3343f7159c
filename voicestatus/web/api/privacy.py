"""`/privacy`: what is kept, what of it is about oneself, and how to be forgotten."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from voicestatus.core.errors import Refusal
from voicestatus.core.ids import UserId
from voicestatus.store.documents import Documents
from voicestatus.web.api.endpoint import Reply, endpoint
from voicestatus.web.api.errors import see_that
from voicestatus.web.api.reading import invalid
from voicestatus.web.audit import Audit, Caller
from voicestatus.web.auth import cookies
from voicestatus.web.auth.identity import Identity, Level
from voicestatus.web.auth.visit import Visit
from voicestatus.web.privacy.kept import KEPT, NOTES
from voicestatus.web.privacy.traces import SOMEBODY, Trace
from voicestatus.web.views import at

UserText = Annotated[
    str, Meta(pattern="^[1-9][0-9]{0,19}$", examples=["1187000000000000042"])
]


class KeptView(Struct, frozen=True, rename="camel"):
    """One thing that is kept."""

    of: Literal["people", "signs", "server"]
    place: Literal["store", "memory", "log", "between nodes", "browser"]
    what: str
    until: Annotated[str, Meta(description="kept until")]
    erased: Annotated[
        str, Meta(description="what erasing a person does with it; empty: nothing")
    ]


class PrivacyView(Struct, frozen=True, rename="camel"):
    """All that is kept, and what else is to be known of it."""

    kept: list[KeptView]
    notes: list[str]


class ExportQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Whose."""

    user: Annotated[
        UserText | UnsetType, Meta(description="for admins; else one's own")
    ] = UNSET


class Export(Struct, frozen=True, rename="camel"):
    """All that is kept of one person."""

    user: str
    at: datetime
    kept: Annotated[
        dict[str, list[Any]], Meta(description="by subject, such as `sessions`")
    ]


class EraseBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Who is to be forgotten: oneself, or by an admin somebody else."""

    confirm: Annotated[
        UserText | UnsetType, Meta(description="one's own id: it cannot be undone")
    ] = UNSET
    user: Annotated[
        UserText | UnsetType, Meta(description="somebody's id; for admins")
    ] = UNSET


class Erased(Struct, frozen=True, rename="camel"):
    """What was done."""

    erased: Annotated[
        dict[str, int], Meta(description="in how many of each they were named")
    ]
    remains: Annotated[
        list[str], Meta(description="`voice` while they are there: until they leave")
    ]


class PrivacySubject:
    """For all who are signed in; what is kept at all, anybody may know."""

    def __init__(
        self,
        traces: Sequence[Trace],
        documents: Documents,
        audit: Audit,
        wall: Callable[[], float],
    ) -> None:
        """Take what there is of people, in the order in which it is erased.

        Sessions come last: who meets with an error is still signed in, and tries again.
        """
        self._traces, self._documents = traces, documents
        self._audit, self._wall = audit, wall

    @endpoint("GET", "/privacy", level=Level.ANYBODY)
    def show(self) -> PrivacyView:
        """Tell what is kept here, where, and for how long."""
        return PrivacyView(
            [
                KeptView(
                    each.of.value, each.place.value, each.what, each.until, each.erased
                )
                for each in KEPT
            ],
            [*NOTES],
        )

    @endpoint(
        "GET",
        "/privacy/export",
        level=Level.GUEST,
        refuses=("DISCORD_NOT_LINKED", "STORE_UNAVAILABLE"),
    )
    async def export(self, query: ExportQuery, caller: Caller) -> Reply[Export]:
        """Give all that is kept of oneself."""
        if isinstance(query.user, str):
            see_that(caller.who, Level.ADMIN, None)
            user = UserId(int(query.user))
        else:
            user = _own(caller)
        kept = {trace.name: await trace.find(user) for trace in self._traces}
        name = f'attachment; filename="voicestatus-{user}.json"'
        told = Export(str(user), at(self._wall()), kept)
        return Reply(told, (("Content-Disposition", name),))

    @endpoint(
        "POST",
        "/privacy/erase",
        level=Level.GUEST,
        refuses=("DISCORD_NOT_LINKED", "STORE_UNAVAILABLE"),
    )
    async def erase(
        self, body: EraseBody, caller: Caller, visit: Visit
    ) -> Reply[Erased]:
        """Forget somebody: oneself, or as an admin anybody.

        What they need while they are in voice is kept until they leave. It can be done
        again.
        """
        user, own = _whom(body, caller)
        erased = {trace.name: await trace.erase(user) for trace in self._traces}
        remains = [each.name for each in self._traces if await each.find(user)]
        if own:
            forgotten = Identity(f"session of user {SOMEBODY}", caller.who.level)
            caller = replace(caller, who=forgotten, address="")
        await self._audit.note(caller, "privacy.erase", SOMEBODY, erased)
        await self._documents.sync()
        gone = cookies.clear(cookies.SESSION, secure=visit.secure)
        return Reply(Erased(erased, remains), (("Set-Cookie", gone),) if own else ())


def _whom(body: EraseBody, caller: Caller) -> tuple[UserId, bool]:
    """Return who is meant, and whether that is the caller."""
    if isinstance(body.user, str) and body.confirm is UNSET:
        see_that(caller.who, Level.ADMIN, None)
        user = UserId(int(body.user))
        return user, user == caller.who.user
    user = _own(caller)
    if body.user is not UNSET or body.confirm != str(user):
        raise invalid("confirm", "confirm should be one's own id, and stand alone")
    return user, True


def _own(caller: Caller) -> UserId:
    if caller.who.user is None:
        text = "This is for those who signed in with Discord."
        raise Refusal("DISCORD_NOT_LINKED", text)
    return caller.who.user
