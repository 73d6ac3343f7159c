"""Puts another protocol in the place of the one that a connection feeds."""

from typing import Any

from twisted.internet.interfaces import IProtocol
from twisted.protocols.policies import ProtocolWrapper
from twisted.web.server import Request

Transport = Any
"""Twisted has no one type for what tcp.Server and its wrappers can do."""


def put_in_place(transport: Transport, protocol: IProtocol) -> None:
    """Connect a protocol to a transport that another one has had so far.

    `protocol` and `wrappedProtocol` are what TCP and Unix transports, and wrappers
    (TLS, the PROXY protocol), deliver to. That is no promise of theirs, so it is done
    here and nowhere else; Autobahn's WebSocketResource relies on the same.
    """
    wrapped = isinstance(transport, ProtocolWrapper)
    setattr(transport, "wrappedProtocol" if wrapped else "protocol", protocol)
    protocol.makeConnection(transport)


def take_from(request: Request) -> tuple[Transport, bytes]:
    """Take a connection from the page that has it; return what came after its head.

    Of the request, and of what served it, nothing is kept.
    """
    channel: Any = request.channel
    transport: Transport = channel.transport
    # The channel is the transport's producer: left there it would stay in memory,
    # and under TLS the connection would never close.
    transport.unregisterProducer()
    channel.setTimeout(None)
    channel.requests.clear()
    channel.transport = None
    return transport, channel.clearLineBuffer()
