"""A store against a dictionary: no order of calls makes them differ."""

from collections.abc import Coroutine, Iterable
from dataclasses import replace
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

NEW = -1
"""The version of what a batch writes, before it is known."""

KINDS = st.sampled_from(["sign", "voice"])
IDS = st.sampled_from(["a", "b", "ä"])
PARENTS = st.sampled_from(["", "home", "away"])
# Numbers are of batches, of which the first never was.
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
        self.versions = [0]
        self.store = self.make()
        self.start()

    def make(self) -> Store:
        raise NotImplementedError

    @rule(changes=st.lists(CHANGES, min_size=1, max_size=4))
    def write(self, changes: list[Put | Delete]) -> None:
        after = dict(self.model)
        changes = [self.meant(change) for change in changes]
        if all(self.change(after, change) for change in changes):
            version = wait(self.store.write(*changes))
            assert version > self.versions[-1]
            self.versions.append(version)
            self.model = {
                key: replace(d, version=version) if d.version == NEW else d
                for key, d in after.items()
            }
        else:
            with pytest.raises(VersionConflict):
                wait(self.store.write(*changes))

    def meant(self, change: Put | Delete) -> Put | Delete:
        """Put the version of a batch in the place of its number."""
        if not isinstance(change.expected, int):
            return change
        known = change.expected < len(self.versions)
        return replace(change, expected=self.versions[change.expected] if known else 0)

    def change(
        self, model: dict[tuple[str, str], Document], change: Put | Delete
    ) -> bool:
        key = change.kind, change.id
        found = model.pop(key, None)
        if isinstance(change, Put):
            model[key] = Document(*key, change.parent, NEW, change.body)
        has = found.version if found else None
        return change.expected is ANY or change.expected == has

    @rule()
    def reopen(self) -> None:
        self.stop()
        self.start()

    @rule(kind=KINDS, id_=IDS)
    def get(self, kind: str, id_: str) -> None:
        assert wait(self.store.get(kind, id_)) == self.model.get((kind, id_))

    @rule(kind=KINDS, parent=st.none() | PARENTS)
    def list(self, kind: str, parent: str | None) -> None:
        listed = [
            document
            for document in self.model.values()
            if document.kind == kind and parent in (None, document.parent)
        ]
        assert wait(self.store.list(kind, parent)) == in_order(listed)

    @invariant()
    def both_hold_the_same(self) -> None:
        held = wait(self.store.picture()).documents
        assert in_order(held) == in_order(self.model.values())

    def start(self) -> None:
        from twisted.internet import reactor

        blockingCallFromThread(reactor, self.store.startService)

    def stop(self) -> None:
        from twisted.internet import reactor

        blockingCallFromThread(reactor, self.store.stopService)

    def teardown(self) -> None:
        self.stop()
        self.folder.cleanup()


def in_order(documents: Iterable[Document]) -> tuple[Document, ...]:
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

            return open_store(f"{redis.url}?prefix={next(prefixes)}", reactor)

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
