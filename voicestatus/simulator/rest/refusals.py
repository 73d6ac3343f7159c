"""How REST refuses: JSON with a code, 429 with a time, and HTML from the proxy."""

import math

from voicestatus.core.errors import VoiceStatusError
from voicestatus.simulator.payloads import Json, encode

UNAUTHORIZED = (401, 0, "401: Unauthorized")
UNKNOWN_CHANNEL = (404, 10003, "Unknown Channel")
UNKNOWN_GUILD = (404, 10004, "Unknown Guild")
UNKNOWN_INVITE = (404, 10006, "Unknown Invite")
UNKNOWN_MEMBER = (404, 10007, "Unknown Member")
UNKNOWN_MESSAGE = (404, 10008, "Unknown Message")
UNKNOWN_ROLE = (404, 10011, "Unknown Role")
UNKNOWN_USER = (404, 10013, "Unknown User")
UNKNOWN_WEBHOOK = (404, 10015, "Unknown Webhook")
UNKNOWN_INTERACTION = (404, 10062, "Unknown interaction")
UNKNOWN_VOICE_STATE = (404, 10065, "Unknown Voice State")
UNKNOWN_EVENT = (404, 10070, "Unknown Guild Scheduled Event")
MAX_INVITES = (400, 30016, "Maximum number of invites reached (1000)")
MAX_EVENTS = (
    400,
    30038,
    "Maximum number of uncompleted guild scheduled events reached (100)",
)
ALREADY_ANSWERED = (400, 40060, "Interaction has already been acknowledged.")
MISSING_ACCESS = (403, 50001, "Missing Access")
NOT_YOURS = (403, 50005, "Cannot edit a message authored by another user")
EMPTY_MESSAGE = (400, 50006, "Cannot send an empty message")
MISSING_PERMISSIONS = (403, 50013, "Missing Permissions")
WRONG_CHANNEL_TYPE = (400, 50024, "Cannot execute action on this channel type")
MISSING_SCOPE = (403, 50026, "Missing required OAuth2 scope")
NOT_JSON = (400, 50109, "The request body contains invalid JSON.")
EVENT_FINISHED = (400, 180000, "Cannot update a finished event")


class RestError(VoiceStatusError):
    """A refusal as Discord words it: JSON."""

    content_type = "application/json"

    def __init__(self, status: int, code: int, message: str, **more: object) -> None:
        super().__init__(message)
        self.status = status
        self.headers: dict[str, str] = {}
        self.body = encode({"message": message, "code": code} | more)


class FormError(RestError):
    """A body, or a field of it, that is not as it should be."""

    def __init__(self, path: str, code: str, message: str) -> None:
        """`path` is that of the field, its parts with dots between them."""
        tree: Json = {"_errors": [{"code": code, "message": message}]}
        for name in reversed([part for part in path.split(".") if part]):
            tree = {name: tree}
        super().__init__(400, 50035, "Invalid Form Body", errors=tree)


class OAuthError(RestError):
    """A refusal of the token endpoint. Source: RFC 6749, 5.2."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(status, 0, error)
        self.body = encode({"error": error, "error_description": description})


class LimitError(RestError):
    """429: too many calls, of `scope` user, global or shared."""

    def __init__(self, retry_after_s: float, scope: str = "user") -> None:
        message = (
            "The resource is being rate limited."
            if scope == "shared"
            else "You are being rate limited."
        )
        super().__init__(429, 0, message)
        everywhere = scope == "global"
        self.body = encode(
            {
                "message": message,
                "retry_after": round(retry_after_s, 3),
                "global": everywhere,
            }
        )
        self.headers = {
            "Retry-After": str(math.ceil(retry_after_s)),
            "X-RateLimit-Scope": scope,
        }
        if everywhere:
            self.headers["X-RateLimit-Global"] = "true"


class ProxyError(RestError):
    """What stands in front of Discord answers instead: HTML."""

    content_type = "text/html"

    def __init__(self, status: int, retry_after_s: float | None = None) -> None:
        super().__init__(status, 0, str(status))
        self.body = b"<html><head><title>%d</title></head></html>" % status
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(math.ceil(retry_after_s))
