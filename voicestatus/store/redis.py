"""Documents in Redis, for several nodes: each call is one script, done or not done."""

import hashlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from voicestatus.core.storage_address import InRedis
from voicestatus.store import redis_scripts as scripts
from voicestatus.store.blobs import CHUNK_BYTES, UPLOAD_IDLE_S, Blob, UploadLost
from voicestatus.store.documents import (
    ANY,
    Change,
    Document,
    Fence,
    Fenced,
    NotEmpty,
    Picture,
    Put,
    VersionConflict,
    in_slices,
)
from voicestatus.store.fallible import FallibleStore
from voicestatus.store.redis_link import (
    CALL_LIMIT_S,
    Argument,
    Ask,
    RedisLink,
    Refused,
)

T = TypeVar("T")

WHOLE_LIMIT_S = 120.0
"""A backup or restore of everything may take so long."""


class RedisStore(FallibleStore):
    """`STORAGE_URL=redis://…`, `rediss://…`, `redis+sentinel://…`."""

    def __init__(
        self, address: InRedis, reactor: Any, *, call_limit_s: float = CALL_LIMIT_S
    ) -> None:
        super().__init__(reactor)
        self._prefix = address.prefix
        self._link = RedisLink(
            address,
            reactor,
            greet=self._greet,
            away=self._ill,
            call_limit_s=call_limit_s,
        )

    def startService(self) -> None:
        super().startService()
        self._link.start()

    def stopService(self) -> Deferred[None]:
        """Refuse new calls, finish those that wait, close the connection."""
        super().stopService()
        return Deferred.fromCoroutine(self._link.stop())

    async def get(self, kind: str, id_: str) -> Document | None:
        value = await self._call("HGET", f"{self._prefix}d:{kind}", id_)
        return None if value is None else _document(kind, id_, value)

    async def list(self, kind: str, parent: str | None = None) -> tuple[Document, ...]:
        if parent is None:
            held = await self._call("HGETALL", f"{self._prefix}d:{kind}")
        else:
            held = await self._run(scripts.CHILDREN, kind, parent, read=_as_it_is)

        def document(pair: tuple[bytes, bytes]) -> Document:
            return _document(kind, pair[0].decode(), pair[1])

        found = await in_slices(self, document, _pairs(held))
        return tuple(sorted(found, key=lambda document: document.id))

    async def write(self, *changes: Change, fence: Fence | None = None) -> int:
        def version(answer: bytes) -> int:
            what, number, *found = answer.split(b" ")
            if what == b"fenced" and fence is not None:
                raise Fenced(fence, int(number))
            if what == b"conflict":
                is_there = int(found[0]) if found[0] else None
                raise VersionConflict(changes[int(number)], is_there)
            return int(number)

        batch: list[Argument] = ["", ""]
        if fence is not None:
            batch = [fence.shard, fence.number]
        for change in changes:
            batch += _arguments(change)
        return await self._run(scripts.WRITE, *batch, read=version, writes=True)

    async def sync(self) -> None:
        """What a power cut takes is set in Redis itself: `appendfsync`."""

    async def blob(self, kind: str, id_: str) -> Blob | None:
        key = _blob_key(kind, id_)
        value = await self._call("HGET", f"{self._prefix}blobs", key)
        return None if value is None else _blob(key, value)

    async def blobs(self, kind: str) -> tuple[Blob, ...]:
        held = await self._call("HGETALL", f"{self._prefix}blobs")
        found = (_blob(key, value) for key, value in _pairs(held))
        return tuple(
            sorted((b for b in found if b.kind == kind), key=lambda blob: blob.id)
        )

    async def delete_blob(self, kind: str, id_: str) -> None:
        await self._run(
            scripts.DELETE_BLOB, _blob_key(kind, id_), read=bytes, writes=True
        )

    async def begin_upload(self) -> int:
        return await self._run(scripts.BEGIN_UPLOAD, read=int, writes=True)

    async def append_upload(self, number: int, position: int, data: bytes) -> None:
        await self._run(
            scripts.APPEND_UPLOAD,
            *(number, position, data, UPLOAD_IDLE_S),
            read=lambda answer: _refuse_lost(answer, number),
            writes=True,
        )

    async def drop_upload(self, number: int) -> None:
        await self._call("UNLINK", f"{self._prefix}u:{number}", writes=True)

    async def publish(self, blob: Blob) -> Blob:
        key = _blob_key(blob.kind, blob.id)

        def published(answer: bytes) -> Blob:
            _refuse_lost(answer, blob.content)
            if answer.startswith(b"same "):
                return _blob(key, answer.removeprefix(b"same "))
            return blob

        return await self._run(
            scripts.PUBLISH,
            *(key, blob.content, blob.size_bytes, blob.sha256),
            read=published,
            writes=True,
        )

    async def read_at(self, blob: Blob, position: int) -> bytes:
        key, end = f"{self._prefix}b:{blob.content}", position + CHUNK_BYTES - 1
        data: bytes = await self._call("GETRANGE", key, position, end)
        return data

    async def picture(self) -> Picture:
        return await self._run(scripts.PICTURE, read=_picture, limit_s=WHOLE_LIMIT_S)

    async def become(self, picture: Picture, *, replace: bool = False) -> None:
        def became(answer: bytes) -> None:
            if answer == b"not empty":
                raise NotEmpty
            if answer.startswith(b"lost "):
                raise UploadLost(int(answer.removeprefix(b"lost ")))

        everything: list[Argument] = ["replace" if replace else "", picture.version]
        everything.append(len(picture.fences))
        for fence in picture.fences:
            everything += [fence.shard, fence.number]
        everything.append(len(picture.blobs))
        for blob in picture.blobs:
            key = _blob_key(blob.kind, blob.id)
            everything += [key, blob.content, blob.size_bytes, blob.sha256]
        for d in picture.documents:
            everything += [d.kind, d.id, d.version, d.parent, d.body]
        await self._run(
            scripts.BECOME,
            *everything,
            read=became,
            writes=True,
            limit_s=WHOLE_LIMIT_S,
        )

    async def _call(self, *command: Argument, writes: bool = False) -> Any:
        self._refuse_unless_running()
        answer = Deferred.fromCoroutine(self._link.call(*command))
        return await self._asked(answer, writes=writes)

    async def _run(
        self,
        script: str,
        *arguments: Argument,
        read: Callable[[Any], T],
        writes: bool = False,
        limit_s: float | None = None,
    ) -> T:
        async def run() -> T:
            return read(await self._evaluate(script, arguments, limit_s))

        self._refuse_unless_running()
        return await self._asked(Deferred.fromCoroutine(run()), writes=writes)

    async def _evaluate(
        self, script: str, arguments: tuple[Argument, ...], limit_s: float | None
    ) -> Any:
        rest = 1, self._prefix, *arguments
        try:
            return await self._link.call(
                "EVALSHA", _sha1(script), *rest, limit_s=limit_s
            )
        except Refused as e:
            if e.kind != "NOSCRIPT":  # else: somebody emptied Redis' own cache of them
                raise
            return await self._link.call("EVAL", script, *rest, limit_s=limit_s)

    async def _greet(self, ask: Ask) -> None:
        """Load the scripts, and say so when Redis may lose what is stored."""
        for script in scripts.ALL:
            await ask("SCRIPT", "LOAD", script)
        told = (await ask("INFO")).decode()
        known, self.risks = self.risks, _risks(told)
        for risk, remedy in self.risks:
            if (risk, remedy) not in known:
                self._log.warn("storage: {risk}. {remedy}", risk=risk, remedy=remedy)


@lru_cache
def _sha1(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


def _risks(told: str) -> tuple[tuple[str, str], ...]:
    """Source: https://redis.io/docs/latest/commands/info/."""
    facts = dict(line.split(":", 1) for line in told.splitlines() if ":" in line)
    risks = []
    policy = facts.get("maxmemory_policy", "noeviction")
    if facts.get("maxmemory", "0") != "0" and policy != "noeviction":
        what = "Redis throws away what is stored when its memory is full"
        risks.append((what, f"Set maxmemory-policy to noeviction (it is {policy})"))
    if facts.get("aof_enabled") == "0":
        what = "Redis forgets its last minutes, or all, when it ends"
        risks.append((what, "Set appendonly to yes"))
    return tuple(risks)


def _arguments(change: Change) -> tuple[Argument, ...]:
    if change.expected is ANY:
        expected: Argument = "*"
    else:
        expected = "" if change.expected is None else change.expected
    if isinstance(change, Put):
        return "put", change.kind, change.id, expected, change.parent, change.body
    return "delete", change.kind, change.id, expected, "", ""


def _as_it_is(answer: T) -> T:
    return answer


def _pairs(parts: list[Any]) -> Iterator[tuple[bytes, Any]]:
    return zip(parts[::2], parts[1::2], strict=True)


def _document(kind: str, id_: str, value: bytes) -> Document:
    version, length, rest = value.split(b" ", 2)
    parent, body = rest[: int(length)], rest[int(length) :]
    return Document(kind, id_, parent.decode(), int(version), body)


def _blob_key(kind: str, id_: str) -> bytes:
    name = kind.encode()
    return len(name).to_bytes(4, "big") + name + id_.encode()


def _blob(key: bytes, value: bytes) -> Blob:
    end = 4 + int.from_bytes(key[:4], "big")
    content, size_bytes, sha256 = value.decode().split(" ")
    return Blob(
        key[4:end].decode(), key[end:].decode(), int(size_bytes), sha256, int(content)
    )


def _refuse_lost(answer: bytes, number: int) -> None:
    if answer == b"lost":
        raise UploadLost(number)


def _picture(answer: Any) -> Picture:
    version, fences, blobs, documents = answer
    return Picture(
        int(version),
        tuple(
            _document(kind.decode(), id_.decode(), value)
            for kind, held in _pairs(documents)
            for id_, value in _pairs(held)
        ),
        tuple(Fence(int(shard), int(number)) for shard, number in _pairs(fences)),
        tuple(_blob(key, value) for key, value in _pairs(blobs)),
    )
