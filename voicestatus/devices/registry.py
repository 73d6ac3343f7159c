"""Who the devices are, and which of them are here."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from itertools import count
from sys import intern
from typing import Literal

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from voicestatus.core.errors import ProtocolError, Refusal
from voicestatus.core.fleet import (
    STRANGER,
    Device,
    Enrolment,
    Record,
    Sketch,
    Standing,
    Vitals,
    digest_of,
    is_id,
    is_ticket,
    is_used,
    issue,
    use,
)
from voicestatus.core.lights import EVERYTHING, Light, RuleText
from voicestatus.devices.doubts import Doubts
from voicestatus.devices.enrolling import Enrolling, TokenWish
from voicestatus.devices.here import Connection, Frames, Here
from voicestatus.devices.metrics import DeviceMetrics
from voicestatus.devices.news import Bundle, News, Others
from voicestatus.devices.offering import Offering
from voicestatus.devices.records import described
from voicestatus.devices.returning import Returning
from voicestatus.devices.returning_everywhere import ReturningEverywhere
from voicestatus.devices.session import Known, Nobody, Ticket, Unsure, Verdict
from voicestatus.devices.table import Table, not_found
from voicestatus.devices.tickets import Tickets
from voicestatus.devices.wire import Hello, Offer, OtaReport, Status, command_text
from voicestatus.store.documents import Change, Documents
from voicestatus.tasks import Tasks

MAX_DEVICES = 50_000
"""Who knows the shared token can make devices up; not more than these."""

Source = Literal["device", "address", "default"]


class Unset:
    """Stands for a key that a patch does not name."""


UNSET = Unset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """What an admin changes of a device; what is UNSET stays."""

    name: str | Unset = UNSET
    tags: tuple[str, ...] | Unset = UNSET
    rule: RuleText | Unset | None = UNSET
    approved: bool | Unset = UNSET
    revoked: bool | Unset = UNSET

    def on(self, record: Record) -> Record:
        """Return the record with these changes."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        named = {key: value for key, value in given.items() if value is not UNSET}
        return replace(record, **named)


@dataclass(frozen=True, slots=True)
class Showing:
    """What a connected device follows, and what it was told last."""

    rule: RuleText
    source: Source
    """Whose rule: the device's own, its address's (`?guild=`), or nobody's."""
    light: Light
    frames: Frames
    """(Unix seconds, text) of the last texts sent to its group, oldest first."""


class Registry(Service):
    """Knows the devices: those of the table, and the strangers that are connected.

    Each write method does its own change and `also` (an audit entry) in one batch of
    the store, then in memory, and tells the subscribers.

    With other nodes on the same store it knows what they write, and no more of the
    devices that are connected there.
    """

    _log = Logger()

    def __init__(
        self,
        documents: Documents,
        clock: IReactorTime,
        metrics: DeviceMetrics,
        *,
        enrolment: Enrolment,
        wall: Callable[[], float],
        make_token: Callable[[], str],
        max_devices: int = MAX_DEVICES,
        public_url: str | None = None,
        others: Others | None = None,
    ) -> None:
        """`make_token` returns 43 random characters, as `secrets.token_urlsafe(32)`.

        Under `public_url` devices reach this server; old ones need it for updates.
        `others` are the nodes besides this one, None: there are none.
        """
        self._metrics, self._wall = metrics, wall
        self._news: News | None = None
        self._doubts: Doubts | None = None
        if others is not None:
            self._news = News(others, clock, self._hear, self._missed)
        self._table = Table(documents, clock, self._wishes, self._news, self._learnt)
        if others is not None:
            self._doubts = Doubts(clock, self._table.others.read_all, self._judge)
        self._tickets = Tickets(
            documents, wall, make_token, self._judge, self._has_come_since
        )
        self._enrolling = Enrolling(
            self._table,
            self._tickets,
            clock,
            metrics,
            enrolment=enrolment,
            wall=wall,
            make_token=make_token,
            max_devices=max_devices,
            become=self._become,
            is_here=self.is_here,
        )
        self._offering = Offering(
            self._table,
            self._enrolling,
            server=public_url,
            now=clock.seconds,
            wall=wall,
            returning=Returning()
            if others is None
            else ReturningEverywhere(others, clock.seconds, self._became),
        )
        self._here: dict[str, Here] = {}
        """Devices that are connected; strangers are apart from them."""
        self._strangers: dict[str, Here] = {}
        # Not from 1: an id from before a restart, or of another node, is nobody's here.
        node = b"" if others is None else sha256(others.node.encode()).digest()
        start = int.from_bytes(node[:6]) + int(wall() * 1000)
        self._numbers = count(start % 2**48)
        self._away: dict[str, Vitals] = {}
        self._told: dict[object, Callable[[str], object]] = {}
        self._told_reports: dict[object, Callable[[str, OtaReport], object]] = {}
        self._judges: list[Callable[[], object]] = []
        self._tasks = Tasks()
        metrics.enrolled.set_function(lambda: len(self._table))

    # ---- its life ------------------------------------------------------------------

    def startService(self) -> None:
        """Begin to read the table."""
        super().startService()
        self._table.open(self._loaded)

    def stopService(self) -> Deferred[None]:
        """Write what is not written yet; fires when that is done or refused."""
        super().stopService()
        self._tasks.cancel()
        self._tickets.end()
        self._enrolling.end()
        if self._doubts is not None:
            self._doubts.end()
        return Deferred.fromCoroutine(self._table.close())

    @property
    def loaded(self) -> bool:
        """Whether the table was read; until then nobody is known."""
        return self._table.loaded

    def judge_again_by(self, judge: Callable[[], object]) -> None:
        """Call `judge` whenever tokens of which it was unsure can be judged again."""
        self._judges.append(judge)

    def refill(self) -> None:
        """Take it that the store came back empty: write again all that is known."""
        self._table.refill()

    def _loaded(self) -> None:
        self._enrolling.loaded()
        if self._doubts is not None:
            self._doubts.begin()
        self._judge()

    # ---- for the admin side: reading -----------------------------------------------

    def devices(self) -> Iterable[Device]:
        """All that are enrolled, by id, then strangers that are connected."""
        for record in self._table:
            yield self._device(record)
        for here in tuple(self._strangers.values()):
            yield _as_stranger(here)

    def ids(self) -> list[str]:
        """Return the ids of all that `devices` yields, sorted; it costs far less."""
        return sorted([*(record.id for record in self._table), *self._strangers])

    def get(self, id_: str) -> Device | None:
        if (here := self._strangers.get(id_)) is not None:
            return _as_stranger(here)
        record = self._table.get(id_)
        return None if record is None else self._device(record)

    def is_here(self, id_: str) -> bool:
        """Whether it is connected to this node."""
        return self._find(id_) is not None

    def bearer(self, token: bytes) -> str | None:
        """Return the id of the device whose own token this is."""
        verdict = self.judge(token)
        return verdict.id if isinstance(verdict, Known) else None

    def by_mac(self, mac: str) -> str | None:
        """Return the id of the device that has this address, as `a0:20:a6:…`.

        None also if it has used a token of its own: by that it is known, and an
        address anybody can give.
        """
        id_ = mac.replace(":", "")
        record = self._table.get(id_)
        return None if record is None or is_used(record) else id_

    def showing(self, id_: str) -> Showing | None:
        """None: it is not connected."""
        here = self._find(id_)
        if here is None or here.connection is None:
            return None
        rule, source = self._rule_and_source(here)
        light, frames = here.connection.showing()
        return Showing(rule, source, light, frames)

    def subscribe(self, tell: Callable[[str], object]) -> Callable[[], object]:
        """Tell the id of each device that came, went, changed; return the way out.

        Each status message is told too: bundle them.
        """
        self._told[key := object()] = tell
        return lambda: self._told.pop(key, None)

    def look(self) -> None:
        """Let other nodes tell each status message, too, for a quarter of a minute."""
        if self._news is not None:
            self._news.looks()

    # ---- for the admin side: writing -----------------------------------------------

    async def create(
        self, id_: str, patch: Patch, *, also: tuple[Change, ...] = ()
    ) -> tuple[Device, str]:
        """Enrol a device by hand; return it and its token.

        :raises Refusal: `DEVICE_EXISTS`, `INVALID_ID`.
        """
        if not is_id(id_):
            raise Refusal("INVALID_ID", "an id has 1 to 64 of A-Z a-z 0-9 . _ : -")
        token, digest = self._enrolling.new_token()
        record = issue(patch.on(Record(id=id_)), digest, self._wall())
        await self._table.add(record, also)
        self._tell(id_)
        return self._device(record), token

    async def change(
        self, id_: str, patch: Patch, *, also: tuple[Change, ...] = ()
    ) -> Device:
        """:raises Refusal: `DEVICE_NOT_FOUND`, `NOT_ENROLLED`."""
        self._refuse_stranger(id_)
        record = await self._table.change(id_, patch.on, also)
        if (here := self._here.get(id_)) is not None:
            self._obey(here, record)
        self._tell(id_)
        return self._device(record)

    async def forget(self, id_: str, *, also: tuple[Change, ...] = ()) -> None:
        """Delete it; its tokens die, its connection ends.

        :raises Refusal: `DEVICE_NOT_FOUND`, `NOT_ENROLLED`.
        """
        self._refuse_stranger(id_)
        await self._table.remove(id_, also)
        self._forgotten(id_)
        self._tell(id_)

    async def rotate(self, id_: str, *, also: tuple[Change, ...] = ()) -> str:
        """Give it a new token; the old ones are good until the new one is in use.

        A connected version-2 device is sent it at once.

        :raises Refusal: `DEVICE_NOT_FOUND`, `NOT_ENROLLED`, `DEVICE_REVOKED`.
        """
        self._refuse_stranger(id_)
        (token, digest), now = self._enrolling.new_token(), self._wall()

        def rotated(record: Record) -> Record:
            if record.revoked:
                raise Refusal("DEVICE_REVOKED", f"device {id_} is revoked", id=id_)
            return issue(record, digest, now)

        await self._table.change(id_, rotated, also)
        self.welcome(id_, token)
        self._tell(id_)
        return token

    async def provision(self, *, also: tuple[Change, ...] = ()) -> tuple[str, float]:
        """Make a one-use token; return it, and until when it enrols a device.

        It does so whatever is said of unknown devices; one that is known keeps what
        it is.

        :raises StoreError: when it was not stored.
        """
        return await self._tickets.make(also)

    def welcome(self, id_: str, token: str) -> None:
        """Send a device its new token, if it is here and can take one."""
        here = self._here.get(id_)
        if here is not None and here.protocol >= 2:
            here.welcome(token)

    def command(self, id_: str, command: Mapping[str, object]) -> None:
        """Send a command that is one JSON text.

        :raises Refusal: `DEVICE_NOT_FOUND`, `DEVICE_OFFLINE`, `COMMAND_NOT_SUPPORTED`
            (a version-1 device), `INVALID_COMMAND`.
        """
        if self._find(id_) is None and self._table.get(id_) is None:
            raise not_found(id_)
        try:
            text = command_text(command)
        except ProtocolError as e:
            raise Refusal("INVALID_COMMAND", str(e)) from None
        here, connection = self._connected(id_)
        if here.protocol < 2:
            why = f"device {id_} speaks version 1, which has no commands"
            raise Refusal("COMMAND_NOT_SUPPORTED", why, id=id_)
        connection.send(text)

    # ---- for updates ---------------------------------------------------------------

    def offer(self, id_: str, offer: Offer) -> None:
        """Offer a device a release, in the words of its version.

        An old one goes dark and away for it; who comes next from where it stood is
        taken to be it.

        :raises Refusal: `DEVICE_NOT_FOUND`, `DEVICE_OFFLINE`, `UPDATE_NOT_SUPPORTED`
            (it checks no signature, and is no old one); for old ones also
            `PUBLIC_URL_MISSING`, `OFFER_TOO_LONG`, `RETURN_AWAITED` (another one that
            could not be told from it is away: try again in a minute).
        """
        self._offering.offer(*self._connected(id_), offer)

    def probe(self, id_: str, path: str) -> None:
        """Send an old device, or connection, to `path`, where it says what it is.

        :raises Refusal: as `offer` does, and `PROBE_NOT_NEEDED`.
        """
        self._offering.probe(*self._connected(id_), path)

    def prolong(self, id_: str) -> None:
        """Await an old device that was sent away for a minute more, from now on."""
        self._offering.prolong(id_)

    def recognise(
        self, name: str, id_: str, *, chip: str, fw: str, sketch: Sketch
    ) -> str:
        """Take what an old device has said where it was sent; return who it is.

        `name` is what it was called when it was sent, `id_` the MAC that it gave. For
        as long as its connection lasts it is that device. One that came by a token of
        its own stays who it is.

        :raises Refusal: `ENROLMENT_CLOSED`, `ALREADY_ENROLLED`, `DEVICE_REVOKED`.
        """
        if (
            not name.startswith(STRANGER)
            and self._enrolling.standing(name) is Standing.USED
        ):
            id_ = name
            self._offering.note(id_, chip=chip, fw=fw, sketch=sketch)
        else:
            self._offering.admit(id_)
            self._offering.note(id_, chip=chip, fw=fw, sketch=sketch)
            came_as = self._offering.learnt(name, id_)
            self._became(came_as or name, id_)
        self._tell(id_)
        return id_

    def subscribe_reports(
        self, tell: Callable[[str, OtaReport], object]
    ) -> Callable[[], object]:
        """Tell what devices say of their updates, by id; return the way out."""
        self._told_reports[key := object()] = tell
        return lambda: self._told_reports.pop(key, None)

    # ---- for connections -----------------------------------------------------------

    def judge(self, token: bytes) -> Verdict:
        """Tell whose own token this is, or whether it is good for enrolling."""
        if is_ticket(token):
            return self._tickets.judge(token)
        digest = digest_of(token)
        record = self._table.fleet.bearer(digest, self._wall())
        if record is not None:
            return Known(record.id, digest)
        # What could not be read may be the token's device.
        if not self._table.complete:
            return Unsure()
        surely = self._doubts is None or self._doubts.refuses(digest)
        return Nobody() if surely else Unsure()

    def arrive(self, connection: Connection, known: Known | Ticket | None) -> Here:
        """Take a connection that is let in."""
        if isinstance(known, Known):
            return self._arrive(connection, known)
        here = Here(connection, self._new_name(), self._wall(), None)
        if isinstance(known, Ticket):
            self._enrolling.invite(here, known)
        elif (back := self._offering.came(here)) is not None:
            self._settle(here, back)
            return here
        self._strangers[here.id] = here
        self._came(here.id)
        return here

    def _arrive(self, connection: Connection, known: Known) -> Here:
        here = Here(connection, known.id, self._wall(), known.digest)
        self._settle(here, known.id)
        record = self._table.get(known.id)
        if record is not None:
            used = use(record, known.digest, self._wall())
            if used is not record:
                self._table.save(used, soon=True)
        return here

    def rule_of(self, here: Here) -> RuleText:
        """Return what a connection is to follow."""
        return self._rule_and_source(here)[0]

    def depart(self, here: Here) -> None:
        """Take it that a connection is lost, or about to end."""
        if here.connection is None:
            return
        vitals = self._let_go(here)
        if self._strangers.pop(here.id, None) is None:
            del self._here[here.id]
            if (record := self._table.get(here.id)) is not None:
                self._away[here.id] = vitals
                self._table.save(replace(record, last_seen_at=self._wall()))
        self._went(here.id)

    def hello(self, here: Here, hello: Hello) -> None:
        """Take it that a device says who it is."""
        if here.connection is None:
            return
        if here.protocol < 2 and here.known and here.digest is None:
            self._doubt(here, hello.id)
        here.protocol, here.boot = 2, intern(hello.boot)
        settled = here.known or self._enrolling.awaits(here)
        if settled and hello.id != here.said_id:
            text = f"this connection is device {here.said_id}"
            self._enrolling.refuse(here, "wrong_id", text)
            return
        here.rich = "light" in hello.caps
        self._follow(here)
        if here.known:
            self._metrics.hellos["known"].inc()
            self._note(here, hello)
            if not self._enrolling.offer(here):
                here.welcome()
            self._tell(here.id)
        else:
            here.hello = hello
            self._enrolling.greet(here)

    def status(self, here: Here, status: Status) -> None:
        """Take it that a device says how it is. Nothing of that is stored."""
        if here.connection is None:
            return
        here.report(status, self._wall())
        self._metrics.statuses.inc()
        if self._news is not None:
            self._news.said(here.id)
        self._tell(here.id)

    def report(self, here: Here, report: OtaReport) -> None:
        """Take it that a device says how far an update is, or said so as it left."""
        if not here.known:
            return
        for key, tell in tuple(self._told_reports.items()):
            try:
                tell(here.id, report)
            except Exception:  # noqa: BLE001 - the others must be told all the same
                self._log.failure("a subscriber failed and was dropped")
                self._told_reports.pop(key, None)

    def _wishes(self, most: int) -> list[TokenWish]:
        # The two need each other: the table asks what else is to be stored.
        return self._enrolling.wishes(most)

    # ---- coming and going ----------------------------------------------------------

    def _become(self, here: Here, id_: str) -> None:
        """Make a connection the device that it is, or says it is."""
        before = here.id
        if self._strangers.pop(before, None) is None:
            del self._here[before]
        self._settle(here, id_)
        if here.hello is not None:
            self._note(here, here.hello)
            here.hello = None
        self._follow(here)
        self._went(before)

    def _became(self, name: str, id_: str) -> None:
        """Take it that a connection, if it is here, is that old device."""
        here = self._find(name)
        if here is not None and here.id != id_ and here.protocol < 2:
            self._become(here, id_)

    def _doubt(self, here: Here, says: str) -> None:
        """Take it that who was taken for an old device says who it is."""
        if here.id == says:
            return
        taken_for, here.id = here.id, self._new_name()
        del self._here[taken_for]
        here.known, here.reconnects = False, 0
        self._strangers[here.id] = here
        self._came(here.id)
        self._went(taken_for)

    def _settle(self, here: Here, id_: str) -> None:
        """Make a connection the device's; an older one of it has to go."""
        before = self._here.get(id_)
        away = before or self._away.pop(id_, None)
        if away is not None:
            here.reconnects = away.reconnects + 1
        here.id, here.known = id_, True
        self._here[id_] = here
        record = self._table.get(id_)
        if record is not None and record.first_seen_at is None:
            self._table.save(replace(record, first_seen_at=self._wall()))
        if before is not None:
            self._replace(before)
        self._came(id_)

    def _replace(self, here: Here) -> Vitals | None:
        """End a connection: another one is the device now."""
        if (connection := here.connection) is None:
            return None
        vitals = self._let_go(here)
        connection.dismiss(here.id)
        return vitals

    def _came(self, id_: str) -> None:
        if self._news is not None:
            self._news.came(id_)
        self._tell(id_)

    def _went(self, id_: str) -> None:
        if self._news is not None:
            self._news.went(id_)
        self._tell(id_)

    def _let_go(self, here: Here) -> Vitals:
        self._enrolling.leave(here)
        return here.leave()

    def _note(self, here: Here, hello: Hello) -> None:
        """Take what a device says of itself."""
        record = self._table.get(here.id)
        if record is not None and (now := described(record, hello)) is not record:
            self._table.save(now)

    def _end(self, here: Here, why: str, message: str) -> None:
        if here.protocol >= 2:
            here.complain(why.upper(), message)
        if here.connection is not None:
            here.connection.dismiss()

    def _obey(self, here: Here, record: Record, *, elsewhere: bool = False) -> None:
        """Let a connection follow what its record says now."""
        if record.revoked:
            self._end(here, "revoked", f"device {record.id} is revoked")
            return
        self._follow(here)
        # A newer token that another node has made, that one sends.
        if here.digest is None or not elsewhere:
            self._enrolling.offer(here)

    def _forgotten(self, id_: str) -> None:
        self._away.pop(id_, None)
        if (here := self._here.get(id_)) is not None:
            self._end(here, "forgotten", f"device {id_} is forgotten")

    # ---- what other nodes tell -----------------------------------------------------

    def _hear(self, bundle: Bundle) -> None:
        self._table.others.wrote(bundle.changed)
        for id_ in bundle.forgotten:
            self._table.others.deleted(id_)
        for id_ in bundle.came:
            if id_ in self._here:
                self._tasks.spawn("a device that came twice", self._yield(id_))
        for id_ in bundle.ids:
            self._tell(id_)

    def _missed(self) -> None:
        self._table.others.may_have_written()

    def _learnt(self, before: Record | None, record: Record | None) -> None:
        """Take what another node made of a record; None: nothing, it was deleted."""
        if record is None:
            if before is not None:
                self._forgotten(before.id)
                self._tell(before.id)
            return
        if (here := self._here.get(record.id)) is not None:
            self._obey(here, record, elsewhere=True)
        if self._doubts is not None:
            self._doubts.known(record)
        self._tell(record.id)

    async def _yield(self, id_: str) -> None:
        """Dismiss a device that came to another node since."""
        here = self._here.get(id_)
        if here is None or self._news is None or not await self._news.is_elsewhere(id_):
            return
        if self._here.get(id_) is here:
            del self._here[id_]
            if (vitals := self._replace(here)) is not None:
                self._away[id_] = vitals
            self._went(id_)

    def _judge(self) -> None:
        for judge in self._judges:
            judge()

    def _has_come_since(self, id_: str, at: float) -> bool:
        record = self._table.get(id_)
        return record is not None and is_used(record, at)

    def _find(self, id_: str) -> Here | None:
        return self._here.get(id_) or self._strangers.get(id_)

    def _connected(self, id_: str) -> tuple[Here, Connection]:
        here = self._find(id_)
        if here is not None and here.connection is not None:
            return here, here.connection
        if self._table.get(id_) is None:
            raise not_found(id_)
        raise Refusal("DEVICE_OFFLINE", f"device {id_} is not connected", id=id_)

    def _new_name(self) -> str:
        return f"{STRANGER}{next(self._numbers):012x}"

    # ---- the rest ------------------------------------------------------------------

    def _rule_and_source(self, here: Here) -> tuple[RuleText, Source]:
        record = self._table.get(here.id)
        if record is not None and record.rule is not None:
            return record.rule, "device"
        if here.connection is not None and here.connection.rule != EVERYTHING:
            return here.connection.rule, "address"
        return EVERYTHING, "default"

    def _follow(self, here: Here) -> None:
        if here.connection is not None:
            here.connection.follow(self.rule_of(here), rich=here.rich)

    def _refuse_stranger(self, id_: str) -> None:
        if id_ in self._strangers:
            text = f"{id_} is a connection and no device"
            raise Refusal("NOT_ENROLLED", text, id=id_)

    def _device(self, record: Record) -> Device:
        here = self._here.get(record.id)
        if here is not None:
            return Device(record, here.vitals)
        return Device(record, self._away.get(record.id, _NEVER_SEEN))

    def _tell(self, id_: str) -> None:
        for key, tell in tuple(self._told.items()):
            try:
                tell(id_)
            except Exception:  # noqa: BLE001 - the others must be told all the same
                self._log.failure("a subscriber failed and was dropped")
                self._told.pop(key, None)


_NEVER_SEEN = Vitals()


def _as_stranger(here: Here) -> Device:
    record = Record(id=here.id, approved=False)
    if here.hello is not None:
        record = described(record, here.hello)
    return Device(record, here.vitals, enrolled=False)
