"""One thread, one call after another, none waited for without end."""

from collections.abc import Iterator
from threading import Event, get_ident

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, gatherResults
from twisted.internet.task import Clock

from voicestatus.core.errors import StoreError
from voicestatus.store.documents import FateUnknown
from voicestatus.store.worker import Worker


class ReactorWithClock:
    """The real reactor between threads; its time is the test's."""

    def __init__(self, clock: Clock) -> None:
        from twisted.internet import reactor

        self.callFromThread = reactor.callFromThread
        self.callLater = clock.callLater


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def worker(clock: Clock) -> Iterator[Worker]:
    worker = Worker(ReactorWithClock(clock), limit_s=10, waiting_max=100)
    worker.start()
    yield worker
    worker.stop()


@pytest_twisted.ensureDeferred
async def test_calls_run_in_order_in_one_other_thread(worker):
    threads = await gatherResults([worker.do(get_ident) for _ in range(20)])
    assert len(set(threads)) == 1
    assert get_ident() not in threads
    seen: list[int] = []
    await gatherResults([worker.do(lambda n=n: seen.append(n)) for n in range(20)])
    assert seen == [*range(20)]


@pytest_twisted.ensureDeferred
async def test_what_a_call_raises_reaches_who_asked_and_the_thread_goes_on(worker):
    with pytest.raises(ZeroDivisionError):
        await worker.do(lambda: 1 // 0)
    assert await worker.do(lambda: 1) == 1


@pytest_twisted.ensureDeferred
async def test_a_call_that_hangs_is_given_up_and_what_waited_too_long_never_runs(
    worker, clock
):
    disk, begun, ran = Event(), Event(), []
    hanging = worker.do(lambda: begun.set() or disk.wait())
    waiting = worker.do(lambda: ran.append("late"))
    begun.wait()
    clock.advance(9.9)
    assert not hanging.called
    clock.advance(0.1)
    with pytest.raises(FateUnknown, match=r"within 10 s; a write may have happened"):
        await hanging
    with pytest.raises(StoreError, match=r"did not answer within 10 s$"):
        await waiting
    disk.set()
    assert await worker.do(lambda: "again") == "again"
    assert ran == []


@pytest_twisted.ensureDeferred
async def test_a_call_may_have_a_limit_of_its_own(worker, clock):
    disk = Event()
    hanging = worker.do(disk.wait, 60)
    clock.advance(59)
    assert not hanging.called
    disk.set()
    assert await hanging


@pytest_twisted.ensureDeferred
async def test_a_call_that_is_cancelled_while_it_waits_never_runs(worker):
    disk, ran = Event(), []
    hanging = worker.do(disk.wait)
    waiting = worker.do(lambda: ran.append("cancelled"))
    waiting.addErrback(lambda failure: failure.trap(CancelledError))
    waiting.cancel()
    disk.set()
    await hanging
    await worker.do(int)
    assert ran == []


@pytest_twisted.ensureDeferred
async def test_one_call_more_than_may_wait_is_refused_at_once(worker):
    disk, begun = Event(), Event()

    def hang() -> None:
        begun.set()
        disk.wait()

    calls = [worker.do(hang)]
    begun.wait()
    calls += [worker.do(int) for _ in range(100)]
    with pytest.raises(StoreError, match="100 calls behind"):
        await worker.do(int)
    disk.set()
    await gatherResults(calls)
