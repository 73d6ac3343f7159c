"""What can go wrong, by who can mend it."""


class VoiceStatusError(Exception):
    """Any refusal that this program raises on purpose."""


class ConfigError(VoiceStatusError):
    """The operator's settings; the text names every wrong variable, no value."""


class ProtocolError(VoiceStatusError):
    """A peer broke the wire; raised where bytes are decoded, caught in that room."""


class Refusal(VoiceStatusError):  # noqa: N818 - what is answered, not a fault of ours
    """What was asked cannot be done; `code` says why, in capitals, for programs.

    `details` holds what a program may want besides, such as which key was wrong.
    """

    def __init__(self, code: str, message: str, **details: object) -> None:
        super().__init__(message)
        self.code, self.message, self.details = code, message, details


class StoreError(VoiceStatusError):
    """Storage does not answer or refuses; presence goes on from memory."""
