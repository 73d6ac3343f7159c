"""Describes the endpoints as OpenAPI 3.1, from what they declare. Pure."""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec

from voicestatus.web.api.endpoint import Endpoint
from voicestatus.web.api.errors import STATUS, ErrorAnswer
from voicestatus.web.auth import cookies
from voicestatus.web.auth.identity import Level

Json = dict[str, Any]
BASE = "/api/v1"
REF = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"<(\w+)>")
_REQUEST_ID: Json = {
    "X-Request-Id": {
        "description": "Names this request: in the log, in the audit log, in errors.",
        "schema": {"type": "string"},
    }
}
_BEARER: Json = {"token": []}
_SESSION: Json = {"session": []}
_CSRF: Json = {"csrf": []}
_EVERYWHERE = ("VALIDATION_FAILED", "INTERNAL")
_WITH_TOKEN = ("UNAUTHORIZED", "FORBIDDEN", "RATE_LIMITED", "STOPPING")
_IN_DOUBT = ("DISCORD_UNAVAILABLE", "DISCORD_ERROR")
"""Whether somebody may more than a guest Discord says."""
_WITH_BODY = ("PAYLOAD_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE")


def openapi(
    endpoints: Iterable[Endpoint], version: str, besides: Iterable[type] = ()
) -> Json:
    """Describe all endpoints; `besides` are types that others refer to by name."""
    endpoints = tuple(endpoints)
    types = [
        t
        for e in endpoints
        for t in (e.body, e.answer, *e.events.values())
        if t is not None
    ]
    schemas = _Schemas([*types, *besides, ErrorAnswer])
    paths: dict[str, Json] = {}
    for endpoint in endpoints:
        operations = paths.setdefault(_PARAMETER.sub(r"{\1}", endpoint.path), {})
        operations[endpoint.method.lower()] = _operation(endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "voicestatus",
            "version": version,
            "description": "Signs that show who is in voice on Discord: admin side.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": BASE}],
        "security": [_BEARER, _SESSION],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The ADMIN_TOKEN, or an API token with `x-scope`.",
                },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": cookies.SESSION,
                    "description": "Behind https its name begins with `__Host-`.",
                },
                "csrf": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-CSRF-Token",
                    "description": "The `csrfToken` of `/me`; a session's writes want "
                    "it, and an `Origin`.",
                },
            },
        },
    }


class _Schemas:
    """The schemas of all types, made at once: those that are shared stand once.

    They are told apart by `repr`: a type that is annotated with a schema has no hash.
    """

    def __init__(self, types: list[Any]) -> None:
        made, self.components = msgspec.json.schema_components(types, ref_template=REF)
        self._made = dict(zip(map(repr, types), made, strict=True))

    def of(self, type_: Any) -> Json:
        schema: Json = self._made[repr(type_)]
        return schema


def _operation(endpoint: Endpoint, schemas: _Schemas) -> Json:
    operation: Json = {
        "operationId": _operation_id(endpoint),
        "summary": endpoint.summary,
        "tags": [endpoint.path.split("/")[1]],
        "parameters": [*_path_parameters(endpoint), *_query_parameters(endpoint)],
        "responses": _responses(endpoint, schemas),
    }
    if endpoint.description:
        operation["description"] = endpoint.description
    if endpoint.is_open:
        operation["security"] = []
    else:
        operation["x-level"] = endpoint.level.word
        operation["x-scope"] = endpoint.scope and endpoint.scope.value
        if endpoint.writes:
            operation["security"] = [_BEARER, _SESSION | _CSRF]
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": _content(schemas.of(endpoint.body)),
        }
    elif endpoint.form is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"multipart/form-data": {"schema": endpoint.form.schema}},
        }
    return operation


_SNOWFLAKE = "1187000000000000001"
_EXAMPLES = {
    "guild": _SNOWFLAKE,
    "organization": _SNOWFLAKE,
    "user": _SNOWFLAKE,
    "release": "esp32-14-3f0a9c21",
}


def _operation_id(endpoint: Endpoint) -> str:
    words = re.findall(r"\w+", f"{endpoint.method} {endpoint.path}".lower())
    return "_".join(words)


def _path_parameters(endpoint: Endpoint) -> list[Json]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1},
            "example": _EXAMPLES.get(name, "desk-lamp"),
        }
        for name in _PARAMETER.findall(endpoint.path)
    ]


def _query_parameters(endpoint: Endpoint) -> list[Json]:
    if endpoint.query is None:
        return []
    schema = msgspec.json.schema(endpoint.query)
    properties = schema["$defs"][endpoint.query.__name__]["properties"]
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": property_.pop("description", ""),
            "schema": property_,
        }
        for name, property_ in properties.items()
    ]


def _responses(endpoint: Endpoint, schemas: _Schemas) -> Json:
    fine: Json = {"description": endpoint.status.phrase, "headers": _REQUEST_ID}
    if endpoint.answer is not None:
        fine["content"] = _content(schemas.of(endpoint.answer))
    if endpoint.media is not None:
        fine["content"] = {endpoint.media: {}}
    if endpoint.events:
        events = {name: schemas.of(data) for name, data in endpoint.events.items()}
        fine["content"] = {endpoint.media: {"x-events": events}}
    codes = [*_EVERYWHERE, *endpoint.refuses]
    if not endpoint.is_open:
        codes += _WITH_TOKEN
        if endpoint.writes:
            codes.append("CSRF_REFUSED")
        if endpoint.level > Level.GUEST:
            codes += _IN_DOUBT
    if endpoint.body is not None or endpoint.form is not None:
        codes += _WITH_BODY
    by_status: dict[HTTPStatus, list[str]] = {}
    for code in codes:
        by_status.setdefault(STATUS[code], []).append(code)
    successes = {str(endpoint.status.value): fine}
    if endpoint.may_be_again:
        successes["200"] = fine | {"description": "It was there already"}
    return successes | {
        str(status.value): {
            "description": " or ".join(f"`{code}`" for code in by_status[status]),
            "headers": _REQUEST_ID | _OWN_HEADERS.get(status, {}),
            "content": _content(schemas.of(ErrorAnswer)),
        }
        for status in sorted(by_status)
    }


_OWN_HEADERS: dict[HTTPStatus, Json] = {
    HTTPStatus.UNAUTHORIZED: {
        "WWW-Authenticate": {"schema": {"type": "string", "const": "Bearer"}}
    },
    HTTPStatus.TOO_MANY_REQUESTS: {
        "Retry-After": {"schema": {"type": "string", "pattern": "^[0-9]+$"}}
    },
}


def _content(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}
