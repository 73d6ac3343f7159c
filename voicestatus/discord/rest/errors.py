"""How a call to Discord's HTTP API can fail."""

from voicestatus.core.errors import VoiceStatusError


class DiscordUnreachable(VoiceStatusError):  # noqa: N818 - what happened, not a fault
    """No answer, or none that is Discord's; trying again later may help."""


class DiscordRefused(VoiceStatusError):  # noqa: N818 - what happened, not a fault
    """An answer, and it is no; trying the same again does not help."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(f"Discord refused: {status}, code {code}: {message}")
        self.status, self.code = status, code


class TokenRefused(DiscordRefused):
    """401: the token is wrong; each further call counts towards a ban of the IP."""
