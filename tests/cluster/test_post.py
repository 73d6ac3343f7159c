"""What a node tells Redis of its devices, when Redis does not always answer."""

from typing import Any

import pytest
from twisted.internet.task import Clock

from voicestatus.cluster import scripts
from voicestatus.cluster.messages import Post
from voicestatus.core.errors import StoreError
from voicestatus.store.documents import FateUnknown

LEASE_S = 3.0


class StubBus:
    """A Redis that keeps who is where."""

    node = "a"
    error: StoreError | None = None

    def __init__(self) -> None:
        self.here: set[str] = set()
        self.words: list[str] = []

    def subscribe(self, *_: object) -> None:
        """There are no other nodes."""

    def read_letters(self, _: object) -> None:
        """Nor letters."""

    async def run(self, script: str, *arguments: Any) -> Any:
        if self.error is not None and not isinstance(self.error, FateUnknown):
            raise self.error
        if script == scripts.BEAT:
            return [b"1000", len(self.here), 1]
        if script == scripts.HERE:
            for sign, device in zip(arguments[2::2], arguments[3::2], strict=True):
                self.words.append(f"{sign}{device}")
                (self.here.discard if sign == "-" else self.here.add)(device)
        if self.error is not None:
            raise self.error
        return b"done"


@pytest.fixture
def post() -> Any:
    bus, clock = StubBus(), Clock()
    post: Any = Post(bus, LEASE_S, clock, living=lambda _: None)  # type: ignore[arg-type] # a stub
    post.bus, post.clock = bus, clock
    post.startService()
    yield post
    post.stopService()


def test_who_comes_and_goes_while_redis_is_away_is_never_told(post: Any) -> None:
    post.bus.error = StoreError("away")
    post.arrived("lamp")
    for n in range(100):
        post.arrived(f"stranger-{n}")
        post.departed(f"stranger-{n}")
    post.bus.error = None
    post.clock.advance(LEASE_S)
    assert post.bus.words == ["+lamp"]


def test_who_was_told_or_may_have_been_is_told_to_have_gone(post: Any) -> None:
    post.arrived("told")
    post.bus.error = FateUnknown("no answer")
    post.arrived("perhaps told")
    post.bus.error = StoreError("away")
    for _ in range(2):  # it comes once more, and goes for good
        post.arrived("told")
        post.departed("told")
    post.departed("perhaps told")
    post.bus.error = None
    post.clock.advance(LEASE_S)
    assert post.bus.here == set()
