"""Autobahn's frame engine at the price of a few bytes a connection.

The only file that relies on how Autobahn works inside; the bounds in setup.cfg and
the conformance tests hold that together.
"""
# ruff: noqa: N802, N803, N815 - Autobahn's names

from http import HTTPStatus
from typing import Any

from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.websocket.protocol import TrafficStats

from voicestatus.devices.upgrade import (
    MAX_HEAD_BYTES,
    Accepted,
    Refused,
    answer,
    refuse,
)
from voicestatus.devices.wire import MAX_MESSAGE_BYTES

_NONE: Any = None
"""Autobahn's annotations do not say where it has None."""


# The first byte of a frame: final, and what it is; the second: masked, and its size.
_WHOLE_TEXT, _PING, _PONG = 0x81, 0x89, 0x8A
_MASKED = 0x80
_SHORT_HEAD_BYTES, _SHORT_PAYLOAD_BYTES = 6, 125
_LONG, _LONG_HEAD_BYTES = 126, 8
"""A payload of up to 65,535 bytes: its size follows in two bytes."""


class _Nobody:
    """Stands where Autobahn has a Deferred that nobody waits for."""

    def callback(self, result: object) -> None:
        """Take a result and forget it."""


class _Silence:
    """Stands where Autobahn has its logger: peers must not fill the log."""

    def debug(self, *_: object, **__: object) -> None:
        """Say nothing."""

    info = warn = error = debug


class FrameProtocol(WebSocketServerProtocol):
    """A WebSocket server connection: own upgrade, Autobahn's frames.

    Autobahn gives each connection about fifty attributes, and formats half of them
    for a debug line. Here the options and the state of a quiet connection stand on
    the class; an instance holds only what differs from it. Its constructor, opening
    handshake and timers are not used: who derives from this keeps the deadlines.

    Subclasses override what stands under `for subclasses`, `onMessage`, `onPing`, and
    Twisted's own methods.
    """

    transport: Any  # Twisted has no one type for what tcp.Server and wrappers can do
    log = _Silence()

    # Options
    CONFIG_ATTRS: Any = ()
    logOctets = logFrames = trackTimings = False
    maskServerFrames = autoFragmentSize = 0
    requireMaskedClientFrames = applyMask = True
    # A validator for each connection costs memory: whole messages are checked.
    utf8validateIncoming = False
    maxFramePayloadSize, maxMessagePayloadSize = 0, MAX_MESSAGE_BYTES
    # A peer that broke the protocol is told so by a close frame, as `ws` does.
    failByDrop, echoCloseCodeReason = False, True
    openHandshakeTimeout = closeHandshakeTimeout = autoPingInterval = 0

    # The state of a connection on which nothing is under way
    state = WebSocketServerProtocol.STATE_CONNECTING
    send_state = WebSocketServerProtocol.SEND_STATE_GROUND
    websocket_version = 13
    data = b""
    inside_message = False
    current_frame = current_frame_masker = control_frame_data = _NONE
    message_data = frame_data = _NONE
    utf8validateIncomingCurrentMessage = False
    _perMessageCompress, _isMessageCompressed = _NONE, False
    failedByMe = closedByMe = droppedByMe = wasClean = False
    wasNotCleanReason = remoteCloseCode = remoteCloseReason = _NONE
    openHandshakeTimeoutCall = closeHandshakeTimeoutCall = _NONE
    autoPingPending = autoPingPendingCall = autoPingTimeoutCall = _NONE
    trackedTimings = _NONE
    send_queue: Any = ()
    trafficStats = TrafficStats()  # all connections', read by nobody
    is_open = is_closed = _Nobody()

    def __init__(self) -> None:
        """Leave out Autobahn's own: what it makes stands on the class."""

    # ---- for subclasses ------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self.transport.write(data)

    def admits(self, request: Accepted) -> Refused | None:  # noqa: ARG002
        """Return a refusal if a request that could be accepted is not to be."""
        return None

    def upgraded(self, request: Accepted) -> None:
        """Take it that the connection is open."""

    def refused(self, answer: Refused) -> None:
        """Take it that the upgrade was refused; the answer is sent."""

    def closes(self) -> None:
        """Take it that a close frame was sent: from now on it only has to end."""

    def violated(self, code: int, reason: str) -> None:
        """Take it that the peer broke the protocol; a close frame follows."""

    # ---- bytes in ------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Leave out Autobahn's own."""

    def onPong(self, payload: bytes) -> None:
        """Leave out Autobahn's own: it only logs."""

    def connectionLost(self, reason: object = None) -> None:  # noqa: ARG002
        self.state = self.STATE_CLOSED

    def dataReceived(self, data: bytes) -> None:
        if (
            self.state == self.STATE_OPEN
            and not self.data
            and self.current_frame is None
            and self._take_lone(data)
        ):
            return
        self.data += data
        if self.state == self.STATE_CONNECTING:
            self.processHandshake()
        self.consumeData()

    def _take_lone(self, data: bytes) -> bool:
        """Take a segment that is one whole frame; False: it is something else.

        That is nearly all that devices ever send: a text, or a ping or pong without
        payload. Autobahn's parser would take ten times as long over it.
        Source: RFC 6455 5.2.
        """
        if len(data) < _SHORT_HEAD_BYTES:
            return False
        if data[0] == _WHOLE_TEXT and not self.inside_message:
            head = _head_bytes(data)
            if head is None:
                return False
            size = len(data) - head
            mask = (data[head - 4 : head] * (size // 4 + 1))[:size]
            text = int.from_bytes(data[head:], "big") ^ int.from_bytes(mask, "big")
            self._take_message(text.to_bytes(size, "big"), is_binary=False)
        elif len(data) != _SHORT_HEAD_BYTES or data[1] != _MASKED:
            return False
        elif data[0] == _PONG:
            self.onPong(b"")
        elif data[0] == _PING:
            self.onPing(b"")
        else:
            return False
        return True

    def processHandshake(self) -> None:
        """Answer the upgrade request as soon as its head is whole."""
        end = self.data.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES) + 4
        if end < 4 and len(self.data) < MAX_HEAD_BYTES:
            return
        head, self.data = self.data[:end], self.data[end:]
        if end < 4:
            judged: Accepted | Refused = refuse(HTTPStatus.BAD_REQUEST, "Head too long")
        else:
            judged = answer(head)
        if isinstance(judged, Accepted):
            judged = self.admits(judged) or judged
        self.sendData(judged.response)
        if isinstance(judged, Accepted):
            self.state = self.STATE_OPEN
            self.upgraded(judged)
        else:
            # What else arrives (the devices' library sends a text after a refusal)
            # is not read.
            self.state, self.data = self.STATE_CLOSED, b""
            self.refused(judged)
            self.transport.loseConnection()

    def consumeData(self) -> None:
        """Take all whole frames; after a violation nothing is read any more."""
        while (
            self.state in {self.STATE_OPEN, self.STATE_CLOSING}
            and not self.failedByMe
            and self.processData()
        ):
            pass
        if self.failedByMe or self.state == self.STATE_CLOSED:
            self.data, self.current_frame, self.current_frame_masker = b"", _NONE, _NONE
        elif self.current_frame is None:
            self.current_frame_masker = _NONE

    def onMessageFrame(self, payload: Any) -> None:
        # An endless row of empty fragments must leave nothing behind.
        parts: Any = [part for part in payload if part]
        super().onMessageFrame(parts)

    def onMessageEnd(self) -> None:
        """Hand a message on, unless the connection is about to end."""
        parts, self.message_data = self.message_data, None
        if not self.failedByMe and self.state == self.STATE_OPEN:
            self._take_message(b"".join(parts), is_binary=self.message_is_binary)

    def _take_message(self, payload: bytes, *, is_binary: bool) -> None:
        """Hand a message on; text that is no text ends the connection.

        Source: RFC 6455 8.1.
        """
        if not is_binary:
            try:
                payload.decode("utf-8")
            except UnicodeDecodeError:
                self._invalid_payload("text is not UTF-8")
                return
        self.onMessage(payload, is_binary)

    # ---- bytes out -----------------------------------------------------------------

    def sendData(
        self,
        data: bytes,
        sync: bool = False,  # noqa: ARG002 - chopping is for test tools
        chopsize: int | None = None,  # noqa: ARG002
    ) -> None:
        self.write(data)

    def sendCloseFrame(
        self,
        code: int | None = None,
        reasonUtf8: bytes | None = None,
        isReply: bool = False,
    ) -> None:
        if self.failedByMe:
            self.violated(code or 0, (reasonUtf8 or b"").decode("utf-8", "replace"))
            super().sendCloseFrame(code)  # bare, as `ws` does it
        else:
            super().sendCloseFrame(code, reasonUtf8, isReply)
        self.closes()

    def dropConnection(self, abort: bool = False) -> None:  # noqa: ARG002
        # Autobahn resets the connection once the closing handshake is done; an end
        # of stream after the last frame is what a peer can read in peace.
        super().dropConnection(abort=False)


def _head_bytes(data: bytes) -> int | None:
    """Return how long the head is of a masked frame that ends with the data.

    None: it is not that, or longer than a message may be.
    """
    size = len(data) - _SHORT_HEAD_BYTES
    if size <= _SHORT_PAYLOAD_BYTES:
        return _SHORT_HEAD_BYTES if data[1] == _MASKED | size else None
    size = len(data) - _LONG_HEAD_BYTES
    if not _SHORT_PAYLOAD_BYTES < size <= MAX_MESSAGE_BYTES:
        return None
    told = data[1] == _MASKED | _LONG and int.from_bytes(data[2:4], "big") == size
    return _LONG_HEAD_BYTES if told else None
