"""What a refusal looks like: one shape, and one table of statuses."""

from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from twisted.internet.defer import CancelledError

from voicestatus.core.errors import Refusal, StoreError
from voicestatus.web.auth.identity import Identity, Level, Scope

STATUS = {
    "VALIDATION_FAILED": HTTPStatus.BAD_REQUEST,
    "INVALID_ID": HTTPStatus.BAD_REQUEST,
    "INVALID_COMMAND": HTTPStatus.BAD_REQUEST,
    "IMAGE_REFUSED": HTTPStatus.BAD_REQUEST,
    "MANIFEST_REFUSED": HTTPStatus.BAD_REQUEST,
    "SIGN_IN_REFUSED": HTTPStatus.BAD_REQUEST,
    "UNAUTHORIZED": HTTPStatus.UNAUTHORIZED,
    "FORBIDDEN": HTTPStatus.FORBIDDEN,
    "CSRF_REFUSED": HTTPStatus.FORBIDDEN,
    "DISCORD_NOT_LINKED": HTTPStatus.FORBIDDEN,
    "NOT_ORGANIZATION_MEMBER": HTTPStatus.FORBIDDEN,
    "NOT_FOUND": HTTPStatus.NOT_FOUND,
    "GUILD_NOT_FOUND": HTTPStatus.NOT_FOUND,
    "ORGANIZATION_NOT_FOUND": HTTPStatus.NOT_FOUND,
    "MEMBER_NOT_FOUND": HTTPStatus.NOT_FOUND,
    "NO_LINKED_DISCORD_SERVER": HTTPStatus.NOT_FOUND,
    "DEVICE_NOT_FOUND": HTTPStatus.NOT_FOUND,
    "RELEASE_NOT_FOUND": HTTPStatus.NOT_FOUND,
    "ROLLOUT_NOT_FOUND": HTTPStatus.NOT_FOUND,
    "SESSION_NOT_FOUND": HTTPStatus.NOT_FOUND,
    "TOKEN_NOT_FOUND": HTTPStatus.NOT_FOUND,
    "METHOD_NOT_ALLOWED": HTTPStatus.METHOD_NOT_ALLOWED,
    "DEVICE_EXISTS": HTTPStatus.CONFLICT,
    "NOT_ENROLLED": HTTPStatus.CONFLICT,
    "DEVICE_REVOKED": HTTPStatus.CONFLICT,
    "DEVICE_OFFLINE": HTTPStatus.CONFLICT,
    "COMMAND_NOT_SUPPORTED": HTTPStatus.CONFLICT,
    "NO_SIGNING_KEYS": HTTPStatus.CONFLICT,
    "BUILD_EXISTS": HTTPStatus.CONFLICT,
    "RELEASE_IN_USE": HTTPStatus.CONFLICT,
    "RELEASE_NOT_FLASHABLE": HTTPStatus.CONFLICT,
    "ROLLOUT_OVER": HTTPStatus.CONFLICT,
    "DEVICE_NOT_IN_ROLLOUT": HTTPStatus.CONFLICT,
    "DEVICE_NOT_ELIGIBLE": HTTPStatus.CONFLICT,
    "PROBE_NOT_NEEDED": HTTPStatus.CONFLICT,
    "PUBLIC_URL_MISSING": HTTPStatus.CONFLICT,
    "RETURN_AWAITED": HTTPStatus.CONFLICT,
    "ENROLMENT_CLOSED": HTTPStatus.CONFLICT,
    "ALREADY_ENROLLED": HTTPStatus.CONFLICT,
    "TOKEN_EXISTS": HTTPStatus.CONFLICT,
    "GUILD_ALREADY_LINKED": HTTPStatus.CONFLICT,
    "BOT_NOT_IN_SERVER": HTTPStatus.CONFLICT,
    "ALREADY_IN_DISCORD_SERVER": HTTPStatus.CONFLICT,
    "NO_INVITE_CHANNEL": HTTPStatus.CONFLICT,
    "INVITE_LIMIT": HTTPStatus.CONFLICT,
    "MISSING_PERMISSION": HTTPStatus.CONFLICT,
    "VERSION_CONFLICT": HTTPStatus.CONFLICT,
    "ROLE_NOT_ASSIGNABLE": HTTPStatus.CONFLICT,
    "UPLOAD_TOO_SLOW": HTTPStatus.REQUEST_TIMEOUT,
    "PAYLOAD_TOO_LARGE": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "UNSUPPORTED_MEDIA_TYPE": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "RATE_LIMITED": HTTPStatus.TOO_MANY_REQUESTS,
    "TOO_MANY_UPLOADS": HTTPStatus.TOO_MANY_REQUESTS,
    "INTERNAL": HTTPStatus.INTERNAL_SERVER_ERROR,
    "NODE_UNREACHABLE": HTTPStatus.SERVICE_UNAVAILABLE,
    "FATE_UNKNOWN": HTTPStatus.GATEWAY_TIMEOUT,
    "PROBE_UNANSWERED": HTTPStatus.GATEWAY_TIMEOUT,
    "DISCORD_ERROR": HTTPStatus.BAD_GATEWAY,
    "DISCORD_UNAVAILABLE": HTTPStatus.SERVICE_UNAVAILABLE,
    "STORE_UNAVAILABLE": HTTPStatus.SERVICE_UNAVAILABLE,
    "STOPPING": HTTPStatus.SERVICE_UNAVAILABLE,
}
"""Every code that the admin side answers with."""


class Stopping(Refusal):
    """The server stops."""

    def __init__(self) -> None:
        super().__init__("STOPPING", "The server stops.")


class Forbidden(Refusal):
    """Who it is, is known; but they may not."""

    def __init__(self, level: Level, scope: Scope | None) -> None:
        """Take what is wanted for it."""
        super().__init__(
            "FORBIDDEN",
            "You may not do this.",
            level=level.word,
            scope=None if scope is None else scope.value,
        )


def see_that(who: Identity, level: Level, scope: Scope | None) -> None:
    """:raises Forbidden: when they may not do what wants that.
    :raises Refusal: when it cannot be known whether they may.
    """
    if not who.may(level, scope):
        raise who.doubt or Forbidden(level, scope)


class Error(Struct, frozen=True, rename="camel"):
    """Why something was not done."""

    code: Annotated[
        str, Meta(description="for programs", extra_json_schema={"enum": [*STATUS]})
    ]
    message: Annotated[str, Meta(description="for people")]
    details: Annotated[
        dict[str, Any],
        Meta(description="what else is known; `key`: which one was wrong"),
    ]
    request_id: str


class ErrorAnswer(Struct, frozen=True, rename="camel"):
    """The body of every answer that is no success."""

    error: Error


def error_of(refusal: Refusal, request_id: str) -> Error:
    """Show a refusal."""
    return Error(refusal.code, refusal.message, refusal.details, request_id)


def error_body(refusal: Refusal, request_id: str) -> bytes:
    """Encode the body of an answer."""
    return msgspec.json.encode(ErrorAnswer(error_of(refusal, request_id)))


def refusal_of(error: BaseException | None) -> Refusal | None:
    """Return what to answer to an error; None: it is a defect of ours."""
    match error:
        case Refusal() if error.code in STATUS:
            return error
        case StoreError():
            return Refusal("STORE_UNAVAILABLE", "The store does not answer.")
        case CancelledError():
            return Stopping()
        case _:
            return None


OUR_FAULT = Refusal("INTERNAL", "That is our fault; the log has more.")
