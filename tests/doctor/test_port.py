"""What is said of the port; the ports are real."""

import json
import socket
from collections.abc import AsyncIterator, Callable
from errno import EACCES
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as installed
from twisted.internet.protocol import Factory, Protocol
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from voicestatus.doctor import port
from voicestatus.doctor.finding import Finding, Verdict

reactor: Any = installed
HEALTH = {"ok": True, "espClients": 2, "problem": None, "version": "9.8.7"}


class Health(Resource):
    isLeaf = True

    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer = answer

    def render_GET(self, request: Request) -> bytes:
        assert request.path == b"/health"
        return json.dumps(self.answer).encode()


@pytest_twisted.async_yield_fixture
async def serve() -> AsyncIterator[Callable[[Any], int]]:
    """Serve something on a free port; it is closed after the test."""
    ports: list[Any] = []

    def begin(factory: Any) -> int:
        factory.noisy = False
        ports.append(reactor.listenTCP(0, factory, interface="127.0.0.1"))
        return ports[-1].getHost().port

    yield begin
    for each in ports:
        await each.stopListening()


async def examine(number: int, host: str = "127.0.0.1") -> Finding:
    return await port.examine(host, number, reactor)


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


@pytest_twisted.ensureDeferred
async def test_a_free_port_is_free_and_stays_so():
    number = free_port()
    for _ in range(2):
        assert (await examine(number)).verdict is Verdict.OK


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
@pytest_twisted.ensureDeferred
async def test_a_port_that_we_serve_already_is_well(
    serve: Callable[[Any], int], host: str
):
    number = serve(Site(Health(HEALTH), reactor=reactor))
    finding = await examine(number, host)
    assert finding.verdict is Verdict.OK
    assert "served by voicestatus 9.8.7" in finding.found


@pytest_twisted.ensureDeferred
async def test_a_server_that_has_a_problem_is_a_warning_that_says_which(
    serve: Callable[[Any], int],
):
    sick = HEALTH | {"ok": False, "problem": "Discord refuses the bot token"}
    finding = await examine(serve(Site(Health(sick), reactor=reactor)))
    assert finding.verdict is Verdict.WARNING
    assert "Discord refuses the bot token" in finding.found


@pytest_twisted.ensureDeferred
async def test_the_node_original_on_the_port_is_a_warning(serve: Callable[[Any], int]):
    original = {"ok": True, "espClients": 2}
    finding = await examine(serve(Site(Health(original), reactor=reactor)))
    assert finding.verdict is Verdict.WARNING
    assert "Node original" in finding.found


@pytest.mark.parametrize("answer", [{}, [], "hello", {"ok": True}])
@pytest_twisted.ensureDeferred
async def test_another_program_on_the_port_is_a_failure(
    serve: Callable[[Any], int], answer: object
):
    number = serve(Site(Health(answer), reactor=reactor))
    finding = await examine(number)
    assert finding.verdict is Verdict.FAILED
    assert f"sport = :{number}" in finding.remedy


class Rude(Protocol):
    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(b"220 mail\r\n")
        self.transport.loseConnection()


@pytest_twisted.ensureDeferred
async def test_a_program_that_speaks_no_http_is_a_failure(
    serve: Callable[[Any], int],
):
    finding = await examine(serve(Factory.forProtocol(Rude)))
    assert finding.verdict is Verdict.FAILED


def test_a_port_of_the_system_is_a_failure_that_says_how_to_have_it():
    # Root may bind any; so the refusal is made by hand.
    finding = port.cannot("0.0.0.0", 80, PermissionError(EACCES, "Permission denied"))
    assert finding.verdict is Verdict.FAILED
    assert "1024" in finding.remedy


@pytest_twisted.ensureDeferred
async def test_an_address_of_another_machine_is_a_failure():
    finding = await examine(8080, "192.0.2.1")
    assert finding.verdict is Verdict.FAILED
    assert "HOST must be" in finding.remedy
