"""How devices come to tokens of their own: by a hello, by an admin, by a rotation."""

from collections.abc import Callable
from dataclasses import replace

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from voicestatus.core.errors import Refusal, StoreError
from voicestatus.core.fleet import (
    PREFIX,
    Enrolment,
    Record,
    Standing,
    digest_of,
    issue,
    standing,
    wants_newer,
)
from voicestatus.devices.here import Here
from voicestatus.devices.keepalive import Seldom
from voicestatus.devices.metrics import DeviceMetrics
from voicestatus.devices.records import described
from voicestatus.devices.session import Ticket
from voicestatus.devices.table import Table
from voicestatus.devices.tickets import Tickets
from voicestatus.store.documents import VersionConflict
from voicestatus.tasks import Tasks


class Enrolling:
    """Answers strangers, and gives tokens: each is durable before it is sent."""

    _log = Logger()

    def __init__(
        self,
        table: Table,
        tickets: Tickets,
        clock: IReactorTime,
        metrics: DeviceMetrics,
        *,
        enrolment: Enrolment,
        wall: Callable[[], float],
        make_token: Callable[[], str],
        max_devices: int,
        become: Callable[[Here, str], object],
        is_here: Callable[[str], bool],
    ) -> None:
        """`become` is told that a stranger is the device of that id from now on.

        `is_here` tells whether a device is connected.
        """
        self._table, self._tickets = table, tickets
        self._clock, self._metrics = clock, metrics
        self._enrolment, self._wall, self._make_token = enrolment, wall, make_token
        self._max_devices, self._become = max_devices, become
        self._is_here = is_here
        self._asking: dict[Here, None] = {}
        """Who waits for a token, or to be listed."""
        self._early: dict[Here, None] = {}
        """Who said hello before the table was read."""
        self._invited: dict[Here, Ticket] = {}
        """Strangers that came with a one-use token, which is not taken yet."""
        self._redeeming: dict[Here, None] = {}
        """Those of whom it is just being taken."""
        self._refused = Seldom()
        self._tasks = Tasks()

    def end(self) -> None:
        """Enrol nobody any more."""
        self._tasks.cancel()

    def new_token(self) -> tuple[str, str]:
        """Return a token and what is kept of it."""
        token = PREFIX + self._make_token()
        return token, digest_of(token.encode())

    def invite(self, here: Here, ticket: Ticket) -> None:
        """Take it that a stranger came with a one-use token."""
        self._invited[here] = ticket

    def greet(self, here: Here) -> None:
        """Answer a stranger's hello, at once or when that is possible."""
        if self._table.loaded:
            self._answer(here)
        else:
            self._early[here] = None

    def loaded(self) -> None:
        """Take it that the table is read."""
        early, self._early = self._early, {}
        for here in early:
            self._answer(here)

    def awaits(self, here: Here) -> bool:
        """Whether a stranger's hello is not answered yet."""
        return any(
            here in some for some in (self._asking, self._early, self._redeeming)
        )

    def standing(self, id_: str) -> Standing:
        """Judge who knows no more than the shared token, and says it is this device."""
        record = self._table.get(id_)
        full = record is None and len(self._table) >= self._max_devices
        if full or not self._table.is_open(id_):
            return Standing.STRANGER
        return standing(record, self._enrolment)

    def offer(self, here: Here) -> bool:
        """Get a known device a token if it should have one more."""
        if here.given or not self._misses(here):
            return False
        self._ask(here)
        return True

    def leave(self, here: Here) -> None:
        """Take it that a connection is gone."""
        for some in (self._asking, self._early, self._invited, self._redeeming):
            some.pop(here, None)

    def refuse(self, here: Here, why: str, message: str) -> None:
        """Answer a hello with an error; it goes on as what it was."""
        self._metrics.hellos[why].inc()
        here.complain(why.upper(), message)
        if many := self._refused.happened(self._clock.seconds()):
            self._log.warn(
                "{many} device(s) said hello and were refused; the last from "
                "{address}: {message}",
                many=many,
                address=here.vitals.address,
                message=message,
            )

    def wishes(self, limit: int) -> list["TokenWish"]:
        """Return what is to be stored for those that ask."""
        wishes: dict[str, TokenWish] = {}
        for here in tuple(self._asking):
            if len(wishes) == limit:
                break
            if here.said_id in wishes:
                continue  # the same device twice: in the next batch
            if (wish := self._wish(here)) is None:
                self._asking.pop(here, None)
            else:
                wishes[wish.record.id] = wish
        return [*wishes.values()]

    def _answer(self, here: Here) -> None:
        id_ = here.said_id
        if here in self._redeeming:
            return
        if (ticket := self._invited.pop(here, None)) is not None:
            self._redeeming[here] = None
            self._tasks.spawn("enrolling a device", self._redeem(here, id_, ticket))
            return
        outcome = self.standing(id_)
        match outcome:
            case Standing.USED:
                self.refuse(here, outcome.value, f"device {id_} has its own token")
            case Standing.REVOKED:
                self.refuse(here, outcome.value, f"device {id_} is revoked")
            case Standing.STRANGER:
                self._metrics.hellos[outcome.value].inc()
                here.welcome()
            case Standing.WAITS if self._table.get(id_) is not None:
                self._metrics.hellos[outcome.value].inc()
                self._become(here, id_)
                here.welcome()
            case Standing.WAITS | Standing.ENROLS:
                self._ask(here)

    async def _redeem(self, here: Here, id_: str, ticket: Ticket) -> None:
        """Enrol a device that came with a one-use token; whoever is first takes that.

        A device that is known keeps its name, tags and rule: its flash was erased. The
        one that took it gets a further token until it has shown one: it may have gone
        before that came.
        """
        if ticket.device not in {"", id_} or self._wall() >= ticket.ends_at:
            self._turn_away(here, "ticket_spent", "this token is taken, or too old")
            return
        if ticket.device and self._is_here(id_):
            self._dismiss(here)  # until that connection is known to be lost
            return
        record = self._table.get(id_)
        if record is not None and record.revoked:
            self._turn_away(here, "revoked", f"device {id_} is revoked")
            return
        (token, digest), now = self.new_token(), self._wall()

        def issued(record: Record) -> Record:
            return issue(replace(record, approved=True), digest, now)

        taking = (self._tickets.taking(ticket, id_),)
        try:
            if record is None:
                new = self._new_record(here, approved=True)
                await self._table.add(issued(new), taking)
            else:
                await self._table.change(id_, issued, taking)
        except VersionConflict:
            self._turn_away(here, "ticket_spent", "another device took this token")
        except (Refusal, StoreError):
            self._dismiss(here)  # it comes again, and may find it otherwise
        else:
            self._metrics.hellos[Standing.ENROLS.value].inc()
            if here.connection is not None:
                self._become(here, id_)
                here.welcome(token)
        finally:
            self._redeeming.pop(here, None)

    def _turn_away(self, here: Here, why: str, message: str) -> None:
        self.refuse(here, why, message)
        self._dismiss(here)

    @staticmethod
    def _dismiss(here: Here) -> None:
        if here.connection is not None:
            here.connection.dismiss()

    def _ask(self, here: Here) -> None:
        self._asking[here] = None
        self._table.wake()

    def _misses(self, here: Here) -> bool:
        """Whether a known device should have a token that it has not."""
        record = self._table.get(here.id)
        if record is None or here.protocol < 2 or not self._table.is_open(here.id):
            return False
        if here.digest is None:
            return self.standing(here.id) is Standing.ENROLS
        held = any(token.digest == here.digest for token in record.tokens)
        return held and wants_newer(record, here.digest)

    def _gets_token(self, here: Here) -> bool:
        if here.known:
            return self._misses(here)
        return self.standing(here.said_id) is Standing.ENROLS

    def _wish(self, here: Here) -> "TokenWish | None":
        """Decide what to store for who asks; None: nothing any more."""
        if here.connection is None:
            return None
        id_ = here.said_id
        record = self._table.get(id_)
        if here.known:
            if record is not None and self._misses(here):
                return self._with_token(here, record)
            here.welcome()
            return None
        match self.standing(id_):
            case Standing.ENROLS:
                return self._with_token(here, record)
            case Standing.WAITS if record is None:
                new = self._new_record(here, approved=False)
                return TokenWish(here, None, new, None, self._granted)
            case _:
                self._answer(here)
                return None

    def _with_token(self, here: Here, base: Record | None) -> "TokenWish":
        token, digest = self.new_token()
        record = base or self._new_record(here, approved=True)
        record = self._issued(here, record, digest)
        return TokenWish(here, base, record, token, self._granted)

    def _issued(self, here: Here, record: Record, digest: str) -> Record:
        by_shared = here.digest is None
        return issue(record, digest, self._wall(), provisional=by_shared)

    def _new_record(self, here: Here, *, approved: bool) -> Record:
        now = self._wall()
        record = Record(id=here.said_id, approved=approved, first_seen_at=now)
        return record if here.hello is None else described(record, here.hello)

    def _granted(self, wish: "TokenWish") -> None:
        """Take what is durable now, and tell the device."""
        here, id_ = wish.here, wish.record.id
        self._asking.pop(here, None)
        now, record = self._table.get(id_), wish.record
        if now is not None and now is not wish.base:
            # The device has spoken meanwhile, which is stored later.
            if not self._gets_token(here):
                # It came with a token of its own: this is another.
                self._table.save(now, soon=True)
                if here.connection is not None:
                    self._answer(here)
                return
            record = self._issued(here, now, record.tokens[-1].digest)
        self._table.fleet.put(record)
        outcome = Standing.WAITS if wish.token is None else Standing.ENROLS
        self._metrics.hellos[outcome.value].inc()
        if here.connection is not None:
            if not here.known:
                self._become(here, id_)
            here.welcome(wish.token)


class TokenWish:
    """What is to be stored so that a device can be told of it. See `table.Wish`."""

    __slots__ = ("_granted", "base", "here", "record", "token")

    def __init__(
        self,
        here: Here,
        base: Record | None,
        record: Record,
        token: str | None,
        granted: Callable[["TokenWish"], None],
    ) -> None:
        """`base` is the record as it was, None: there was none."""
        self.here, self.base, self.record, self.token = here, base, record, token
        self._granted = granted

    def stored(self) -> None:
        self._granted(self)
