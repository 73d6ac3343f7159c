"""How a call to Discord's HTTP API can fail."""

from voicestatus.core.errors import VoiceStatusError


class DiscordUnreachable(VoiceStatusError):  # noqa: N818 - what happened, not a fault
    """No answer, or none that is Discord's; trying again later may help."""


class DiscordUntrusted(DiscordUnreachable):
    """Whoever answers has no certificate that we trust."""


class DiscordBusy(DiscordUnreachable):
    """An answer each time, and it is "not now"; `wait_s` as far as it is known."""

    def __init__(self, status: int, wait_s: float) -> None:
        super().__init__(f"Discord answered {status} each time")
        self.status, self.wait_s = status, wait_s


class DiscordRefused(VoiceStatusError):  # noqa: N818 - what happened, not a fault
    """An answer, and it is no; trying the same again does not help."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(f"Discord refused: {status}, code {code}: {message}")
        self.status, self.code = status, code


class TokenRefused(DiscordRefused):
    """401: the token is wrong; each further call counts towards a ban of the IP."""
