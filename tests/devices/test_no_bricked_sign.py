"""Whatever happens to server, store and line: who holds a token that counts gets in."""

import json
from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from voicestatus.core.errors import StoreError
from voicestatus.core.fleet import (
    MAX_TOKENS,
    ROTATION_WINDOW_S,
    Enrolment,
    digest_of,
)
from voicestatus.core.lights import EVERYTHING, NOTHING_TO_SHOW
from voicestatus.devices.metrics import DeviceMetrics
from voicestatus.devices.registry import Patch, Registry
from voicestatus.devices.session import Known
from voicestatus.devices.table import RETRY_AFTER_S
from voicestatus.devices.wire import Hello
from voicestatus.store.memory import MemoryStore

IDS = st.sampled_from(["A1", "B2"])


class Store(MemoryStore):
    """A store that may refuse, or take its time."""

    refuses, gate = False, None

    async def write(self, *changes):
        if self.gate is not None:
            await self.gate
        if self.refuses:
            raise StoreError("refused")
        return await super().write(*changes)


class Device:
    """What a device keeps, and the line that it has now."""

    def __init__(self, id_):
        self.id, self.kept, self.here = id_, None, None
        self.promised: list[str] = []
        """All tokens that it or an admin was given, oldest first."""
        self.used: set[str] = set()
        self.deaf = False
        """Whether what is sent now is lost."""

    def send(self, text):
        token = json.loads(text).get("token")
        if token is None:
            return
        if token not in self.promised:
            self.promised.append(token)
        if not self.deaf:
            self.kept = token


class World(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.clock, self.store, self.numbers = Clock(), Store(), count(1)
        self.store.startService()
        self.crashed: list[tuple[Store, Registry]] = []
        self.devices = {id_: Device(id_) for id_ in ("A1", "B2")}
        self._start()

    def _start(self):
        self.registry = Registry(
            self.store,
            self.clock,
            DeviceMetrics(CollectorRegistry()),
            enrolment=Enrolment.OPEN,
            wall=self.clock.seconds,
            make_token=lambda: f"{next(self.numbers):A>43}",
        )
        self.registry.startService()

    def _dial(self, device, known):
        if device.here is not None:
            self.registry.depart(device.here)
        line = Line(device)
        device.here = line.here = self.registry.arrive(line, known)

    @rule(id_=IDS, deaf=st.booleans(), hello=st.booleans())
    def a_device_shows_its_token(self, id_, deaf, hello):
        device = self.devices[id_]
        device.deaf = deaf
        if device.kept is None:
            return
        known = self.registry.judge(device.kept.encode())
        if isinstance(known, Known):
            device.used.add(device.kept)
            self._dial(device, known)
            if hello:
                self.registry.hello(device.here, Hello(id=id_))

    @rule(id_=IDS, deaf=st.booleans())
    def somebody_enrols_with_the_shared_token(self, id_, deaf):
        device = self.devices[id_]
        device.deaf = deaf
        record = self.registry.get(id_)
        is_used = record is not None and bool(device.used)
        before = len(device.promised)
        self._dial(device, None)
        self.registry.hello(device.here, Hello(id=id_))
        if is_used:
            assert len(device.promised) == before

    @rule(id_=IDS, typed_in=st.booleans())
    def an_admin_rotates(self, id_, typed_in):
        device = self.devices[id_]

        def made(token):
            if token not in device.promised:
                device.promised.append(token)
            if typed_in:
                device.kept = token

        self._do(self.registry.rotate(id_), made)

    @rule(id_=IDS, revoked=st.booleans())
    def an_admin_revokes(self, id_, revoked):
        self._do(self.registry.change(id_, Patch(revoked=revoked)))

    def _do(self, coroutine, then=lambda _: None):
        # Refusals, of the store too, are what an admin lives with.
        Deferred.fromCoroutine(coroutine).addCallback(then).addErrback(lambda _: None)

    @rule(refuses=st.booleans())
    def the_store_refuses_or_not(self, refuses):
        self.store.refuses = refuses

    @precondition(lambda self: self.store.gate is None)
    @rule()
    def the_store_takes_its_time(self):
        self.store.gate = Deferred()

    @precondition(lambda self: self.store.gate is not None)
    @rule()
    def the_store_goes_on(self):
        gate, self.store.gate = self.store.gate, None
        gate.callback(None)

    @rule(seconds=st.sampled_from([1, RETRY_AFTER_S, 70, ROTATION_WINDOW_S]))
    def time_passes(self, seconds):
        self.clock.advance(seconds)

    @rule()
    def the_server_crashes_and_comes_back(self):
        """What waits for the store is never written."""
        crashed, self.store = self.store, Store()
        self.crashed.append((crashed, self.registry))  # not to be finished by the gc
        crashed.stopService()
        crashed.refuses = True  # what is left of the old process can do nothing
        self.store.startService()
        vars(self.store).update(
            _documents=dict(crashed._documents), _version=crashed._version
        )
        for call in self.clock.getDelayedCalls():
            call.cancel()
        self._start()
        for device in self.devices.values():
            device.here = None
            record = self.registry.get(device.id)
            digests = {
                token.digest
                for token in (record.record.tokens if record else ())
                if token.first_used_at is not None
            }
            device.used = {
                token
                for token in device.promised
                if digest_of(token.encode()) in digests
            }

    @invariant()
    def who_holds_a_token_that_counts_gets_in(self):
        for device in self.devices.values():
            found = self.registry.get(device.id)
            if device.kept is None or (found and found.record.revoked):
                continue
            full = found is not None and len(found.record.tokens) == MAX_TOKENS
            if full and device.kept not in device.used:
                continue  # others were made, some of which have reached nobody
            newer = device.promised[device.promised.index(device.kept) + 1 :]
            in_use = device.kept in device.used or not device.used
            if device.used.isdisjoint(newer) and (
                len(newer) < MAX_TOKENS - 1 or (device.kept in device.used and in_use)
            ):
                verdict = self.registry.judge(device.kept.encode())
                assert isinstance(verdict, Known), device.kept

    def teardown(self):
        """Let end what still waits."""
        if hasattr(self, "clock"):
            for store, _ in [*self.crashed, (self.store, self.registry)]:
                store.refuses = True
                if store.gate is not None:
                    gate, store.gate = store.gate, None
                    gate.callback(None)
            for call in self.clock.getDelayedCalls():
                call.cancel()


class Line:
    """One connection of a device; what comes on an old one is lost."""

    address, dialled, rule = None, "/ws", EVERYTHING

    def __init__(self, device):
        self.device, self.here = device, None

    def send(self, text):
        if self.here is None or self.device.here is self.here:
            self.device.send(text)

    def follow(self, rule, *, rich):
        pass

    def dismiss(self, id_=None):
        if self.device.here is self.here:
            self.device.here = None

    def showing(self):
        return NOTHING_TO_SHOW, ()


TestNoBrickedSign = World.TestCase
TestNoBrickedSign.settings = settings(stateful_step_count=40, deadline=None)
