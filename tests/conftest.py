"""What holds for every test: it leaves no failure unseen and no timer running."""

import gc
from collections.abc import Iterator

import pytest
from twisted.logger import LogEvent, globalLogPublisher


@pytest.fixture(scope="session", autouse=True)
def what_was_imported_is_not_collected_again() -> None:
    """Each test ends with a collection: let it look at that test's garbage alone."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[list[LogEvent]]:
    """Fail on a logged failure that the test did not take, and on a live timer."""
    from twisted.internet import reactor

    logged: list[LogEvent] = []

    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            logged.append(event)

    globalLogPublisher.addObserver(observe)
    yield logged  # a test that expects a failure checks it and clears the list
    gc.collect()  # an unhandled Deferred speaks only when it dies
    globalLogPublisher.removeObserver(observe)
    timers = [call for call in reactor.getDelayedCalls() if call.active()]
    for call in timers:
        call.cancel()
    assert not logged, [event["log_failure"] for event in logged]
    assert not timers


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--soak", action="store_true", help="full counts of kills, faults and churn"
    )
