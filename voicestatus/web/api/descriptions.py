"""`/openapi.json`, `/asyncapi.json`: what there is, from the code's own types."""

from collections.abc import Sequence
from typing import Any

from voicestatus.web.api.asyncapi import asyncapi
from voicestatus.web.api.endpoint import Endpoint, endpoint, endpoints_of
from voicestatus.web.api.openapi import openapi
from voicestatus.web.auth.identity import Level
from voicestatus.web.commands import COMMANDS


class DescriptionsSubject:
    """The descriptions of the API and of the WebSockets; no secrets, so no token."""

    def __init__(
        self, subjects: Sequence[object], version: str, device_path: str
    ) -> None:
        """Take the other subjects, and where devices connect."""
        self.endpoints: tuple[Endpoint, ...] = tuple(
            each for subject in (*subjects, self) for each in endpoints_of(subject)
        )
        self._openapi = openapi(self.endpoints, version, COMMANDS)
        self._asyncapi = asyncapi(version, device_path)

    @endpoint("GET", "/openapi.json", level=Level.ANYBODY)
    def http(self) -> dict[str, Any]:
        """Describe this API as OpenAPI 3.1."""
        return self._openapi

    @endpoint("GET", "/asyncapi.json", level=Level.ANYBODY)
    def sockets(self) -> dict[str, Any]:
        """Describe the WebSockets of admins and devices as AsyncAPI 3.0."""
        return self._asyncapi
