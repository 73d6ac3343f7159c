"""The admin API, as far as the demo needs it."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import treq
from twisted.internet.error import ConnectError
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers

from benchmarks.demo_fleet.firmware import Built

PAGE = 1000
BOUNDARY = "7d1a9c4be0f24c6c"


class Refused(Exception):  # noqa: N818 - what the server said
    """The server answered something else than was hoped for."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.code = code


class Admin:
    """Asks the server what an admin may ask."""

    def __init__(self, reactor: Any, url: str, token: str) -> None:
        pool = HTTPConnectionPool(reactor)
        self._agent, self._pool = Agent(reactor, pool=pool), pool
        self._url, self._token = url, token

    async def close(self) -> None:
        """End its connections."""
        await self._pool.closeCachedConnections()

    async def is_up(self) -> bool:
        """Return whether the server serves."""
        try:
            answer = await treq.get(f"{self._url}/readyz", agent=self._agent)
            await answer.content()
        except ConnectError:
            return False
        return bool(answer.code == 200)

    async def publish(self, built: Built) -> str:
        """Upload a release; return its id."""
        form = {
            "legacy": b"true" if built.legacy else b"false",
            "image": built.image,
            "manifest": built.manifest,
        }
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        told = await self._ask("POST", "/firmware/releases", kind, data=_written(form))
        return str(told["id"])

    async def strangers(self) -> list[str]:
        """Return the connections of which nobody knows yet what they are."""
        return [
            device["id"]
            async for device in self._pages("/devices", "devices", connected="true")
            if not device["enrolled"] and device["protocol"] == 1
        ]

    async def probe(self, device: str) -> None:
        """Have an old device say what it is."""
        await self._ask("POST", f"/devices/{device}/commands", json={"type": "probe"})

    async def start(self, plan: dict[str, Any]) -> str:
        """Begin a rollout; return its id."""
        return str((await self._ask("POST", "/firmware/rollouts", json=plan))["id"])

    async def rollout(self, id_: str) -> dict[str, Any]:
        """Say how far a rollout is."""
        told: dict[str, Any] = await self._ask("GET", f"/firmware/rollouts/{id_}")
        return told

    async def failed_in(self, rollout: str) -> dict[str, str]:
        """Return who failed in a rollout, and why, in words."""
        pages = self._pages(
            f"/firmware/rollouts/{rollout}/devices", "devices", phase="failed"
        )
        return {device["device"]: device["reason"] async for device in pages}

    async def _pages(self, path: str, key: str, **query: str) -> AsyncIterator[Any]:
        after: dict[str, str] = {}
        while True:
            asked = {"limit": str(PAGE)} | query | after
            page = await self._ask("GET", path, params=asked)
            for each in page[key]:
                yield each
            if page["next"] is None:
                return
            after = {"after": page["next"]}

    async def _ask(self, method: str, path: str, kind: str = "", **more: Any) -> Any:
        headers = Headers({"Authorization": [f"Bearer {self._token}"]})
        if kind:
            headers.addRawHeader("Content-Type", kind)
        answer = await treq.request(
            method,
            f"{self._url}/api/v1{path}",
            headers=headers,
            agent=self._agent,
            **more,
        )
        text = await answer.content()
        said = json.loads(text) if text else {}
        if answer.code // 100 != 2:
            error = said.get("error", {})
            raise Refused(answer.code, error.get("code", ""), error.get("message", ""))
        return said


def _written(form: Mapping[str, bytes]) -> bytes:
    """Write a form. treq's own does not go on with files that do not fit at once."""
    parts = (
        f"--{BOUNDARY}\r\n"
        f'Content-Disposition: form-data; name="{name}"\r\n\r\n'.encode()
        + value
        + b"\r\n"
        for name, value in form.items()
    )
    return b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()])
