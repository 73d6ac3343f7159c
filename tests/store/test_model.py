"""A store against a dictionary: no order of calls makes them differ."""

from collections.abc import Coroutine
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pytest
import pytest_twisted
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThread

from voicestatus.store.documents import (
    ANY,
    Delete,
    Document,
    Put,
    Store,
    VersionConflict,
)
from voicestatus.store.memory import MemoryStore
from voicestatus.store.open import open_store
from voicestatus.store.sqlite import SqliteStore

T = TypeVar("T")

KINDS = st.sampled_from(["sign", "voice"])
IDS = st.sampled_from(["a", "b", "ä"])
PARENTS = st.sampled_from(["", "home", "away"])
# Small numbers are versions that a document has, had, or never had.
EXPECTED = st.one_of(st.just(ANY), st.none(), st.integers(0, 12))
CHANGES = st.one_of(
    st.builds(Put, KINDS, IDS, st.binary(max_size=4), PARENTS, EXPECTED),
    st.builds(Delete, KINDS, IDS, EXPECTED),
)


def wait(coroutine: Coroutine[Deferred[Any], Any, T]) -> T:
    from twisted.internet import reactor

    result: T = blockingCallFromThread(reactor, Deferred.fromCoroutine, coroutine)
    return result


class StoreMachine(RuleBasedStateMachine):
    """Writes to a store and to a dictionary, and compares what both hold."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.model: dict[tuple[str, str], Document] = {}
        self.batches = 0
        self.store = self.make()
        self.start()

    def make(self) -> Store:
        raise NotImplementedError

    @rule(changes=st.lists(CHANGES, min_size=1, max_size=4))
    def write(self, changes: list[Put | Delete]) -> None:
        after = dict(self.model)
        if all(self.change(after, change) for change in changes):
            self.batches += 1
            assert wait(self.store.write(*changes)) == self.batches
            self.model = after
        else:
            with pytest.raises(VersionConflict):
                wait(self.store.write(*changes))

    def change(
        self, model: dict[tuple[str, str], Document], change: Put | Delete
    ) -> bool:
        key = change.kind, change.id
        found = model.pop(key, None)
        if isinstance(change, Put):
            version = self.batches + 1
            model[key] = Document(*key, change.parent, version, change.body)
        has = found.version if found else None
        return change.expected is ANY or change.expected == has

    @rule()
    def reopen(self) -> None:
        self.stop()
        self.start()

    @rule(kind=KINDS, id_=IDS)
    def get(self, kind: str, id_: str) -> None:
        assert wait(self.store.get(kind, id_)) == self.model.get((kind, id_))

    @rule(kind=KINDS, parent=PARENTS)
    def list_children(self, kind: str, parent: str) -> None:
        children = [
            document
            for document in self.model.values()
            if (document.kind, document.parent) == (kind, parent)
        ]
        assert wait(self.store.list(kind, parent)) == in_order(children)

    @invariant()
    def both_hold_the_same(self) -> None:
        signs, voices = wait(self.store.list("sign")), wait(self.store.list("voice"))
        assert in_order([*signs, *voices]) == in_order([*self.model.values()])

    def start(self) -> None:
        from twisted.internet import reactor

        blockingCallFromThread(reactor, self.store.startService)

    def stop(self) -> None:
        from twisted.internet import reactor

        blockingCallFromThread(reactor, self.store.stopService)

    def teardown(self) -> None:
        self.stop()
        self.folder.cleanup()


def in_order(documents: list[Document]) -> tuple[Document, ...]:
    return tuple(sorted(documents, key=lambda document: (document.id, document.kind)))


class MemoryMachine(StoreMachine):
    def make(self) -> Store:
        return MemoryStore()


class SqliteMachine(StoreMachine):
    def make(self) -> Store:
        from twisted.internet import reactor

        return SqliteStore(Path(self.folder.name) / "voicestatus.db", reactor)


@pytest.fixture
def redis_machine(redis) -> type[StoreMachine]:
    prefixes = (f"model:{number}:" for number in count())

    class RedisMachine(StoreMachine):
        def make(self) -> Store:
            from twisted.internet import reactor

            prefix = next(prefixes)
            redis.ask("SET", f"{prefix}version", "0")
            return open_store(f"{redis.url}?prefix={prefix}", reactor)

    return RedisMachine


@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis"])
@pytest_twisted.ensureDeferred
async def test_no_order_of_calls_makes_a_store_differ_from_a_dictionary(
    kind, redis_machine
):
    machines = {"memory": MemoryMachine, "sqlite": SqliteMachine}
    machine = machines.get(kind, redis_machine)
    few = settings(max_examples=40, stateful_step_count=20, deadline=None)
    # Hypothesis calls and waits; in a thread of its own the reactor can turn.
    await deferToThread(run_state_machine_as_test, machine, settings=few)
