"""How a call to Discord's HTTP API can fail."""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from voicestatus.core.errors import VoiceStatusError
from voicestatus.discord.rest.wire import Problem


class DiscordUnreachable(VoiceStatusError):  # noqa: N818 - what happened, not a fault
    """No answer, or none that is Discord's; trying again later may help."""


class DiscordUntrusted(DiscordUnreachable):
    """Whoever answers has no certificate that we trust."""


class DiscordBusy(DiscordUnreachable):
    """Not now: it says so each time, or the line is too long.

    `wait_s` as far as it is known; `code` is Discord's, such as 30046, too many edits.
    """

    def __init__(self, status: int, wait_s: float, code: int = 0) -> None:
        super().__init__(
            "there are too many calls now (429)"
            if status == HTTPStatus.TOO_MANY_REQUESTS
            else f"Discord answered {status} each time"
        )
        self.status, self.wait_s, self.code = status, wait_s, code


class TooManyRefusals(DiscordUnreachable):
    """Nothing is sent for so long: more refusals, and Discord would ban this IP."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(
            f"Discord refused too many calls; none is made for {wait_s:.0f} s"
        )
        self.wait_s = wait_s


class DiscordRefused(VoiceStatusError):  # noqa: N818 - what happened, not a fault
    """An answer, and it is no; trying the same again does not help."""

    def __init__(
        self, status: int, code: int, message: str, fields: tuple[str, ...] = ()
    ) -> None:
        """`fields` says what is wrong where: `embeds.0.title: CODE words`."""
        text = "; ".join([message, *fields])
        super().__init__(f"Discord refused: {status}, code {code}: {text}")
        self.status, self.code, self.fields = status, code, fields


class TokenRefused(DiscordRefused):
    """401: the token is wrong; each further call counts towards a ban of the IP."""


class LoginRefused(DiscordRefused):
    """401: what a person granted is no longer valid; they have to sign in again."""


class OAuthRefused(DiscordRefused):
    """The token endpoint says no; `reason` is its word, such as `invalid_grant`.

    Source: RFC 6749, 5.2.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, 0, reason)
        self.reason = reason


class UnknownThing(DiscordRefused):
    """What was asked for does not exist, or not any more."""


class UnknownChannel(UnknownThing):
    """10003."""


class UnknownGuild(UnknownThing):
    """10004: or the bot is not in it."""


class UnknownInvite(UnknownThing):
    """10006."""


class UnknownMember(UnknownThing):
    """10007: that user is not in the guild."""


class UnknownMessage(UnknownThing):
    """10008."""


class UnknownRole(UnknownThing):
    """10011."""


class UnknownUser(UnknownThing):
    """10013."""


class UnknownInteraction(UnknownThing):
    """10062: or it was answered too late."""


class UnknownScheduledEvent(UnknownThing):
    """10070."""


class MaximumInvites(DiscordRefused):
    """30016: 1,000 in a guild."""


class MaximumScheduledEvents(DiscordRefused):
    """30038: 100 that have not ended."""


class AlreadyAnswered(DiscordRefused):
    """40060: an interaction."""


class MissingAccess(DiscordRefused):
    """50001: the bot cannot see it at all."""


class MissingPermissions(DiscordRefused):
    """50013: it can see it, but not do that."""


class WrongChannelType(DiscordRefused):
    """50024."""


class InvalidBody(DiscordRefused):
    """50035: `fields` says what is wrong."""


class EventFinished(DiscordRefused):
    """180000: a scheduled event that has ended cannot be changed."""


BY_CODE: Final[Mapping[int, type[DiscordRefused]]] = MappingProxyType(
    {
        10003: UnknownChannel,
        10004: UnknownGuild,
        10006: UnknownInvite,
        10007: UnknownMember,
        10008: UnknownMessage,
        10011: UnknownRole,
        10013: UnknownUser,
        10062: UnknownInteraction,
        10070: UnknownScheduledEvent,
        30016: MaximumInvites,
        30038: MaximumScheduledEvents,
        40060: AlreadyAnswered,
        50001: MissingAccess,
        50013: MissingPermissions,
        50024: WrongChannelType,
        50035: InvalidBody,
        180000: EventFinished,
    }
)
"""Source: Discord docs, Opcodes and Status Codes, "JSON Error Codes"."""


def refused(status: int, problem: Problem) -> DiscordRefused:
    """Make the error that says why; what has no class of its own is the common one."""
    kind = BY_CODE.get(problem.code, DiscordRefused)
    return kind(status, problem.code, problem.message, problem.fields)
