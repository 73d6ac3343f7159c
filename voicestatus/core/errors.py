"""What can go wrong, by who can mend it."""


class VoiceStatusError(Exception):
    """Any refusal that this program raises on purpose."""


class ConfigError(VoiceStatusError):
    """The operator's settings; the text names every wrong variable, no value."""


class ProtocolError(VoiceStatusError):
    """A peer broke the wire; raised where bytes are decoded, caught in that room."""


class StoreError(VoiceStatusError):
    """Storage does not answer or refuses; presence goes on from memory."""
