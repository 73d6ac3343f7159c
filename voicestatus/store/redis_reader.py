"""What Redis answers, from bytes to values. Pure.

txredisapi's own reader takes a turn of the reactor, and copies what is left of the
buffer, for each string that follows another: a list of ten thousand takes seconds.
"""

from typing import Any, TypeAlias


class ErrorReply(Exception):  # noqa: N818 - an answer
    """Redis refused a command; the text begins with the kind of the error."""


class NotRedis(Exception):  # noqa: N818 - what was found, not whose fault
    """What came is no answer of Redis."""


Reply: TypeAlias = bytes | int | ErrorReply | list[Any] | None

_BULK, _ARRAY, _STATUS, _ERROR, _NUMBER = b"$*+-:"


class Reader:
    """Takes bytes as they come and gives whole replies.

    Source: https://redis.io/docs/latest/develop/reference/protocol-spec/, RESP2.
    """

    def __init__(self) -> None:
        self._unread = bytearray()
        self._open: list[tuple[list[Reply], int]] = []

    def feed(self, data: bytes) -> list[Reply]:
        """Return the replies that end in `data`.

        :raises NotRedis: when that is no reply.
        """
        self._unread += data
        whole: list[Reply] = []
        unread, at = self._unread, 0
        while (end := unread.find(b"\r\n", at)) >= 0:
            kind, line = unread[at], bytes(unread[at + 1 : end])
            after = end + 2
            value: Reply
            if kind == _BULK and (size := _number(line)) >= 0:
                if len(unread) < after + size + 2:
                    break
                value = bytes(unread[after : after + size])
                after += size + 2
            elif kind == _ARRAY and (size := _number(line)) > 0:
                self._open.append(([], size))
                at = after
                continue
            else:
                value = _simple(kind, line)
            at = after
            self._close(value, whole)
        del unread[:at]
        return whole

    def _close(self, value: Reply, whole: list[Reply]) -> None:
        while self._open:
            items, size = self._open[-1]
            items.append(value)
            if len(items) < size:
                return
            self._open.pop()
            value = items
        whole.append(value)


def _simple(kind: int, line: bytes) -> Reply:
    if kind == _STATUS:
        return line
    if kind == _NUMBER:
        return _number(line)
    if kind == _ERROR:
        return ErrorReply(line.decode(errors="replace").removeprefix("ERR "))
    if kind in (_BULK, _ARRAY):
        return [] if line == b"0" else None
    raise NotRedis


def _number(line: bytes) -> int:
    try:
        return int(line)
    except ValueError:
        raise NotRedis from None
