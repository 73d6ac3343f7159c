"""One connection to Redis that is made again whenever it is lost.

txredisapi speaks the protocol; the connecting is ours. Its own factories give up for
ever when an AUTH fails or is cut short, believe every certificate, queue commands
without end while Redis is away, and leave Deferreds behind that nobody hears.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificates
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.protocol import Factory
from twisted.internet.ssl import (
    Certificate,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from txredisapi import BaseRedisProtocol
from txredisapi import ConnectionError as LostConnection

from voicestatus.core.errors import StoreError
from voicestatus.core.storage_address import InRedis
from voicestatus.store.documents import FateUnknown
from voicestatus.store.redis_reader import ErrorReply, NotRedis, Reader
from voicestatus.tasks import Tasks

CALL_LIMIT_S = 5.0
CONNECT_LIMIT_S = 3.0
RETRY_EVERY_S = 1.0
WAITING_MAX = 10_000
"""Calls under way; more means that Redis stands still."""

_NOT_OPEN = "the store is not open"

Argument = bytes | str | int

Ask = Callable[..., Awaitable[Any]]
"""Sends a command on a connection that nobody else has yet."""

_REMEDIES = {
    "NOAUTH": "wants a password; put it into STORAGE_URL",
    "WRONGPASS": "refuses the user or the password of STORAGE_URL",
    "NOPERM": "does not let this user do all that is needed (docs/storage.md)",
    "OOM": "is full; raise its maxmemory",
    "READONLY": "is a replica and takes no writes; name the master, or its Sentinels",
    "LOADING": "is still loading its data; it will be ready by itself",
    "MISCONF": "cannot write to its disk; see its log",
    "NOREPLICAS": "has too few replicas to take writes",
    "MASTERDOWN": "is a replica that has lost its master",
    "BUSY": "is busy with another program's script",
}
# Source: https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors:
# the first word of an error is its kind.


class Refused(StoreError):  # noqa: N818 - what happened, not whose fault
    """Redis answered with an error: what was asked did not happen."""

    def __init__(self, where: str, error: str) -> None:
        self.kind = error.split(" ", 1)[0]
        what = _REMEDIES.get(self.kind)
        super().__init__(f"Redis at {where} " + (what or f"refused: {error}"))


class _Connection(BaseRedisProtocol):
    """The protocol with our reader, and why it ended."""

    def __init__(self) -> None:
        super().__init__(charset=None, convertNumbers=False)
        self._why: Failure | None = None
        self._reader = Reader()

    def dataReceived(self, data: bytes) -> None:
        try:
            replies = self._reader.feed(data)
        except NotRedis:
            self.transport.abortConnection()
            return
        for reply in replies:
            self.replyReceived(reply)

    def connectionLost(self, why: Failure) -> None:
        self._why = why
        super().connectionLost(why)

    async def lost(self) -> Failure:
        """Wait for its end; return the reason."""
        if self._why is None:
            await self.whenDisconnected()
        assert self._why is not None  # noqa: S101 - for mypy
        return self._why


class RedisLink:
    """Sends commands in the order in which they are asked, each within a limit."""

    _log = Logger()

    def __init__(
        self,
        address: InRedis,
        reactor: Any,
        *,
        greet: Callable[[Ask], Awaitable[None]],
        away: Callable[[str], None],
        call_limit_s: float = CALL_LIMIT_S,
    ) -> None:
        self._address, self._reactor = address, reactor
        self._greet, self._tell_away = greet, away
        self._call_limit_s = call_limit_s
        self._where = ",".join(f"{host}:{port}" for host, port in address.hosts)
        self._tasks = Tasks()
        self._connection: _Connection | None = None
        self._away: str | None = _NOT_OPEN
        self._waiting: deque[Deferred[_Connection]] = deque()
        self._under_way = 0
        self._running = False

    def start(self) -> None:
        """Begin to connect."""
        self._away, self._running = None, True
        self._tasks.spawn("the link to Redis", self._keep())

    async def stop(self) -> None:
        """Wait for the answers to what was sent, then close the connection."""
        if self._connection is not None:
            with suppress(StoreError):
                await self.call("PING")
        self._running, self._away = False, _NOT_OPEN
        connection, self._connection = self._connection, None
        self._tasks.cancel()
        self._fail_waiting(_NOT_OPEN)
        if connection is not None:
            await _close(connection)

    async def call(self, *command: Argument, limit_s: float | None = None) -> Any:
        """Send one command and return its answer, strings as bytes.

        :raises Refused: when Redis answers with an error.
        :raises FateUnknown: when it was sent, and no answer came.
        :raises StoreError: when it was not sent.
        """
        if self._under_way >= WAITING_MAX:
            raise StoreError(f"Redis at {self._where} is {WAITING_MAX} calls behind")
        self._under_way += 1
        try:
            connection = self._connection
            if connection is None or self._waiting:
                connection = await self._next_connection()
            return await self._send(connection, command, limit_s or self._call_limit_s)
        finally:
            self._under_way -= 1

    async def _next_connection(self) -> _Connection:
        if self._away is not None:
            raise StoreError(self._away)
        # Who gives up leaves the queue.
        waiting: Deferred[_Connection] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        try:
            return await waiting.addTimeout(self._call_limit_s, self._reactor)
        except TooLate as e:
            raise StoreError(self._no_answer(self._call_limit_s)) from e

    async def _send(
        self, connection: _Connection, command: tuple[Argument, ...], limit_s: float
    ) -> Any:
        try:
            answer = connection.execute_command(*command)
            return await answer.addTimeout(limit_s, self._reactor)
        except ErrorReply as e:
            refused = Refused(self._where, str(e))
            if refused.kind == "READONLY":
                # Sentinel, or the name of the host, may lead to another one by now.
                self._give_up(connection)
            raise refused from None
        except TooLate as e:
            # What waits behind it would wait as long. Stuck is as good as away.
            self._give_up(connection)
            raise FateUnknown(
                f"{self._no_answer(limit_s)}; a write may have happened, or not"
            ) from e
        except LostConnection as e:
            raise FateUnknown(
                f"the connection to Redis at {self._where} was lost before its answer;"
                " a write may have happened, or not"
            ) from e

    def _give_up(self, connection: _Connection) -> None:
        if self._connection is connection:
            self._connection = None
        connection.transport.abortConnection()

    def _no_answer(self, limit_s: float) -> str:
        return f"Redis at {self._where} did not answer within {limit_s:g} s"

    async def _keep(self) -> None:
        while self._running:
            try:
                connection = await self._connect()
            except CancelledError:
                raise
            except Exception as e:  # noqa: BLE001 - whatever it is, try again
                if not self._running:  # an endpoint tells "cancelled" in its own way
                    return
                if not isinstance(e, StoreError):
                    self._log.failure("the link to Redis failed; it is made again")
                self._away = str(e)
                self._tell_away(self._away)
                self._fail_waiting(self._away)
            else:
                self._away = None
                self._hand_out(connection)
                made_at = self._reactor.seconds()
                await connection.lost()
                self._connection = None
                if self._reactor.seconds() - made_at > RETRY_EVERY_S:
                    continue
            if self._running:
                await deferLater(self._reactor, RETRY_EVERY_S)

    def _hand_out(self, connection: _Connection) -> None:
        self._connection = connection
        while self._waiting:  # in their order; a new call meanwhile is the last
            self._waiting.popleft().callback(connection)

    def _fail_waiting(self, why: str) -> None:
        while self._waiting:
            self._waiting.popleft().errback(StoreError(why))

    async def _connect(self) -> _Connection:
        host, port = self._address.hosts[0]
        if self._address.service is not None:
            host, port = await self._master(self._address.service)
        connection = await self._dial(host, port)
        try:
            await self._introduce(connection)
        except BaseException:
            connection.transport.abortConnection()
            raise
        return connection

    async def _introduce(self, connection: _Connection) -> None:
        address = self._address
        if address.password:
            user = (address.username,) if address.username else ()
            await self._ask(connection, "AUTH", *user, address.password)
        if address.db:
            await self._ask(connection, "SELECT", address.db)
        await self._ask(connection, "PING")  # it tells NOAUTH and LOADING
        if address.service:
            role = await self._ask(connection, "ROLE")
            if role[0] != b"master":
                raise StoreError(f"Redis at {self._where}: no master yet")
        await self._greet(partial(self._ask, connection))

    async def _ask(self, connection: _Connection, *command: Argument) -> Any:
        """Send a command while the connection is being made.

        :raises StoreError: when there is no answer, or an error.
        """
        try:
            answer = connection.execute_command(*command)
            return await answer.addTimeout(CONNECT_LIMIT_S, self._reactor)
        except ErrorReply as e:
            # Redis repeats the arguments of a command that it does not know.
            error = str(e) if command[0] != "AUTH" else _kind_alone(str(e))
            raise Refused(self._where, error) from None
        except TooLate as e:
            raise StoreError(self._no_answer(CONNECT_LIMIT_S)) from e
        except LostConnection:
            why = await connection.lost()
            raise StoreError(
                f"Redis at {self._where} closed the connection: {_reason(why)}"
            ) from None

    async def _master(self, service: str) -> tuple[str, int]:
        why = ""
        for host, port in self._address.hosts:
            try:
                connection = await self._dial(host, port)
                try:
                    found = await self._ask(
                        connection, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", service
                    )
                finally:
                    connection.transport.abortConnection()
            except StoreError as e:
                why = f"; {e}"
                continue
            if found is not None:
                return found[0].decode(), int(found[1])
        raise StoreError(f"no Sentinel at {self._where} knows {service!r}{why}")

    async def _dial(self, host: str, port: int) -> _Connection:
        try:
            endpoint: Any = HostnameEndpoint(
                self._reactor, host, port, timeout=CONNECT_LIMIT_S
            )
            if self._address.tls:
                trust = _trust(self._address.cafile)
                endpoint = wrapClientTLS(optionsForClientTLS(host, trust), endpoint)
            dialled = endpoint.connect(Factory.forProtocol(_Connection))
            # A connection cannot be had while the host's name is looked up for ever.
            connection: _Connection = await dialled.addTimeout(
                CONNECT_LIMIT_S, self._reactor
            )
        except CancelledError:
            raise
        except Exception as e:
            raise StoreError(f"Redis at {host}:{port} is out of reach: {e}") from e
        connection.transport.setTcpNoDelay(True)
        return connection


def _trust(cafile: str | None) -> Any:
    if cafile is None:
        return platformTrust()
    found = load_pem_x509_certificates(Path(cafile).read_bytes())
    return trustRootFromCertificates(
        [Certificate.loadPEM(each.public_bytes(Encoding.PEM)) for each in found]
    )


def _kind_alone(error: str) -> str:
    kind = error.split(" ", 1)[0]
    return kind if kind in _REMEDIES else "WRONGPASS"


def _reason(why: Failure) -> str:
    if why.check(ConnectionDone, ConnectionAborted):
        return "no reason was given"
    return str(why.value) or type(why.value).__name__


async def _close(connection: _Connection) -> None:
    connection.transport.abortConnection()
    await connection.lost()
