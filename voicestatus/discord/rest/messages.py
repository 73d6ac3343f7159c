"""Messages: as Discord tells them, and as we write them. Pure.

Source: Discord docs, Message, and Message Components.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from voicestatus.core.ids import ChannelId
from voicestatus.discord.rest.wire import User

_ROW, _BUTTON, _LINK = 1, 2, 5
_EPHEMERAL: Final = 1 << 6

Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Attachment(Struct, frozen=True):
    """A file. Nothing in it is read: it is counted."""


class Message(Struct, frozen=True):
    """One message. Without the privileged message-content switch `content` is empty,
    but for the bot's own."""

    id: int
    channel: ChannelId = msgspec.field(name="channel_id")
    author: User
    content: str
    at: Moment = msgspec.field(name="timestamp")
    edited_at: Moment | None = msgspec.field(name="edited_timestamp", default=None)
    attachments: tuple[Attachment, ...] = ()
    kind: int = msgspec.field(name="type", default=0)
    """0 and 19 (a reply) are what people wrote; most others are notices."""


class EmbedField(Struct, frozen=True):
    """One of up to 25; a name of 256 characters at most, a value of 1,024."""

    name: str
    value: str
    inline: bool = False


class _Footer(Struct, frozen=True):
    text: str


class Embed(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A box below the text. All texts of a message's embeds: 6,000 characters."""

    title: str = ""
    description: str = ""
    url: str | None = None
    colour: int | None = msgspec.field(name="color", default=None)
    at: datetime | None = msgspec.field(name="timestamp", default=None)
    footer: str = ""
    fields: tuple[EmbedField, ...] = ()


class Button(Struct, frozen=True):
    """A link, or with `custom_id` one whose presses come by the Gateway."""

    label: str
    url: str | None = None
    custom_id: str | None = None
    style: int = 2
    disabled: bool = False


Rows = Sequence[Sequence[Button]]
"""At most 5 of 5."""


class _Mentions(Struct, frozen=True):
    parse: tuple[str, ...] = ()


class _Draft(Struct, frozen=True, kw_only=True):
    content: str | UnsetType = UNSET
    embeds: list[dict[str, object]] | UnsetType = UNSET
    components: list[dict[str, object]] | UnsetType = UNSET
    allowed_mentions: _Mentions = _Mentions()
    """Nobody is pinged, whatever the text says; an edit forgets it, too."""
    nonce: str | UnsetType = UNSET
    enforce_nonce: bool | UnsetType = UNSET
    flags: int | UnsetType = UNSET


def draft(
    content: str | None = None,
    embeds: Sequence[Embed] | None = None,
    rows: Rows | None = None,
    *,
    nonce: str | None = None,
    ephemeral: bool = False,
) -> bytes:
    """Write a message, or a change of one; what is None is left as it is."""
    return msgspec.json.encode(
        _Draft(
            content=UNSET if content is None else content,
            embeds=UNSET if embeds is None else [_embed(each) for each in embeds],
            components=UNSET if rows is None else [_row(row) for row in rows],
            nonce=UNSET if nonce is None else nonce,
            enforce_nonce=UNSET if nonce is None else True,
            flags=_EPHEMERAL if ephemeral else UNSET,
        )
    )


def _embed(embed: Embed) -> dict[str, object]:
    shown: dict[str, object] = msgspec.to_builtins(embed)
    return shown | {"footer": {"text": embed.footer}} if embed.footer else shown


def _row(row: Sequence[Button]) -> dict[str, object]:
    return {"type": _ROW, "components": [_button(button) for button in row]}


def _button(button: Button) -> dict[str, object]:
    shown: dict[str, object] = {"type": _BUTTON, "label": button.label}
    if button.url is not None:
        shown |= {"style": _LINK, "url": button.url}
    else:
        shown |= {"style": button.style, "custom_id": button.custom_id}
    return shown | {"disabled": True} if button.disabled else shown
