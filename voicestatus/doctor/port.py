"""Whether the port is free, or serves us already."""

import errno
import json
import socket
from ipaddress import ip_address
from typing import Any, Final

import treq
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.web.client import Agent, HTTPConnectionPool, ResponseFailed

from voicestatus.doctor.finding import Finding, failed, ok, warning

WITHIN_S: Final = 10.0


async def examine(host: str, port: int, reactor: Any) -> Finding:
    """Try to bind the port; where that is taken, ask who is there."""
    try:
        _bind(host, port)
    except OSError as e:
        if e.errno != errno.EADDRINUSE:
            return cannot(host, port, e)
        return await _who_is_there(host, port, reactor)
    return ok("port", f"{port} is free")


def _bind(host: str, port: int) -> None:
    family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        # As the server does: what closed a moment ago is not in the way.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind((host, port))


def cannot(host: str, port: int, error: OSError) -> Finding:
    """Say why the port cannot be listened on, though nobody else does."""
    why = f"{host}:{port} cannot be listened on: {error.strerror}"
    if error.errno == errno.EACCES:
        mend = "Choose a PORT from 1024 on, or let systemd open it (docs/operations.md)"
    else:
        mend = "HOST must be an address of this machine; 0.0.0.0 stands for all"
    return failed("port", why, mend)


async def _who_is_there(host: str, port: int, reactor: Any) -> Finding:
    asked = Deferred.fromCoroutine(_health(host, port, reactor))
    try:
        health = await asked.addTimeout(WITHIN_S, reactor)
    except (OSError, ResponseFailed, ValueError, defer.TimeoutError):
        health = None
    if not isinstance(health, dict) or "espClients" not in health:
        mend = f"End it (ss -ltnp 'sport = :{port}' names it), or choose another PORT"
        told = f"what listens on {port} does not answer as voicestatus does"
        return failed("port", told, mend)
    if "version" not in health:
        told = f"{port} is served by the Node original"
        return warning("port", told, "Stop that before you start this server")
    served = f"{port} is served by voicestatus {health['version']}"
    if health.get("ok") is True:
        return ok("port", f"{served}, which hears Discord")
    problem = health.get("problem") or "it does not hear Discord now"
    return warning("port", f"{served}: {problem}", "See what its log says")


async def _health(host: str, port: int, reactor: Any) -> object:
    address = ip_address(host)
    if address.is_unspecified:
        address = ip_address("127.0.0.1" if address.version == 4 else "::1")
    name = f"[{address}]" if address.version == 6 else str(address)
    once = HTTPConnectionPool(reactor, persistent=False)
    agent = Agent(reactor, connectTimeout=WITHIN_S, pool=once)
    response = await treq.get(f"http://{name}:{port}/health", agent=agent)
    return json.loads(await response.content())
