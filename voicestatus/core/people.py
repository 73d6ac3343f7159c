"""What to call people. Pure."""

from voicestatus.core.guild import Voice


def display_name(voice: Voice) -> str:
    """Return what to call somebody in voice; never nothing."""
    return voice.name or f"User {voice.user % 10_000:04}"
