"""Updates: how devices are sent for one, and how old ones come back from it."""

from collections.abc import Callable
from dataclasses import replace

from voicestatus.core.errors import ProtocolError, Refusal
from voicestatus.core.fleet import Record, Sketch, Standing
from voicestatus.devices.enrolling import Enrolling
from voicestatus.devices.here import Connection, Here
from voicestatus.devices.records import slim
from voicestatus.devices.returning import Place, Returning
from voicestatus.devices.returning_everywhere import ReturningEverywhere
from voicestatus.devices.table import Table
from voicestatus.devices.wire import (
    OTA_CAPABILITY,
    Offer,
    offer_text,
    old_offer_text,
    old_probe_text,
)


class Offering:
    """Says offers to devices in the words of their version."""

    def __init__(
        self,
        table: Table,
        enrolling: Enrolling,
        *,
        server: str | None,
        now: Callable[[], float],
        wall: Callable[[], float],
        returning: Returning | ReturningEverywhere,
    ) -> None:
        """`server` is the address under which devices reach this server, if known."""
        self._table, self._enrolling, self._server = table, enrolling, server
        self._now, self._wall = now, wall
        self._returning = returning

    def offer(self, here: Here, connection: Connection, offer: Offer) -> None:
        """:raises Refusal: as `Registry.offer` does."""
        if here.protocol < 2:
            self._refuse_new(here)
            server = self._server_of_old(here)
            try:
                text = old_offer_text(offer, server)
            except ProtocolError as e:
                raise Refusal("OFFER_TOO_LONG", str(e), id=here.id) from None
            self._send_away(here, connection, text)
        elif OTA_CAPABILITY in self._caps_of(here):
            connection.send(offer_text(offer, self._server or ""))
        else:
            why = f"device {here.id} does not say that it can check a signature"
            raise Refusal("UPDATE_NOT_SUPPORTED", why, id=here.id)

    def probe(self, here: Here, connection: Connection, path: str) -> None:
        """:raises Refusal: as `Registry.probe` does."""
        if here.protocol >= 2:
            why = f"device {here.id} says itself who it is"
            raise Refusal("PROBE_NOT_NEEDED", why, id=here.id)
        self._refuse_new(here)
        text = old_probe_text(self._server_of_old(here) + path)
        self._send_away(here, connection, text)

    def prolong(self, id_: str) -> None:
        """Take it that a device which was sent away is still busy."""
        self._returning.prolong(id_, self._now())

    def came(self, here: Here) -> str | None:
        """Return which device a stranger is that comes; None: none that is awaited."""
        place = _place_of(here)
        if place is None:
            return None
        id_ = self._returning.came(place, here.id, self._now())
        record = None if id_ is None else self._table.get(id_)
        return None if record is None or record.revoked else record.id

    def learnt(self, name: str, id_: str) -> str | None:
        """Take it that a connection is that device; return as whom it came since."""
        return self._returning.learnt(name, id_, self._now())

    def admit(self, id_: str) -> None:
        """Make a record for an old device, unless there is one.

        :raises Refusal: as `Registry.recognise` does.
        """
        match self._enrolling.standing(id_):
            case Standing.STRANGER:
                why = f"device {id_} is not known, and no new ones are taken"
                raise Refusal("ENROLMENT_CLOSED", why, id=id_)
            case Standing.USED:
                # Else who knows the shared token could be any device, by its MAC.
                why = f"device {id_} has a token of its own and has used it"
                raise Refusal("ALREADY_ENROLLED", why, id=id_)
            case Standing.REVOKED:
                raise Refusal("DEVICE_REVOKED", f"device {id_} is revoked", id=id_)
            case Standing.ENROLS | Standing.WAITS as standing:
                approved = standing is Standing.ENROLS
        if self._table.get(id_) is None:
            now = self._wall()
            record = Record(id=id_, approved=approved, first_seen_at=now)
            self._table.save(record, soon=True)

    def note(self, id_: str, *, chip: str, fw: str, sketch: Sketch) -> None:
        """Keep what an old device has said of itself."""
        if (record := self._table.get(id_)) is not None:
            noted = replace(record, chip=chip, fw=fw, sketch=sketch)
            self._table.save(slim(noted), soon=True)

    def _caps_of(self, here: Here) -> tuple[str, ...]:
        if here.hello is not None:
            return here.hello.caps
        record = self._table.get(here.id)
        return () if record is None else record.caps

    def _refuse_new(self, here: Here) -> None:
        """Refuse what has not said hello yet, and has always done so before."""
        if OTA_CAPABILITY in self._caps_of(here):
            why = f"device {here.id} has not said hello yet"
            raise Refusal("DEVICE_OFFLINE", why, id=here.id)

    def _server_of_old(self, here: Here) -> str:
        if self._server is None:
            why = "an old device needs a whole address: set PUBLIC_URL"
            raise Refusal("PUBLIC_URL_MISSING", why, id=here.id)
        return self._server

    def _send_away(self, here: Here, connection: Connection, text: bytes) -> None:
        place, now = _place_of(here), self._now()
        if place is not None and not self._returning.expect(place, here.id, now):
            why = (
                f"another device at {here.vitals.address} is awaited back; "
                "the two could not be told apart"
            )
            raise Refusal("RETURN_AWAITED", why, id=here.id)
        connection.send(text)


def _place_of(here: Here) -> Place | None:
    """Return where it stands; None: it shows a token of its own, that is enough."""
    if here.connection is None or here.digest is not None:
        return None
    return here.connection.address, here.connection.dialled
