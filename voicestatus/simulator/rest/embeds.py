"""What embeds and buttons may hold. Pure.

Source: Discord docs, Message, "Embed Limits", and Component Reference.
"""

from collections.abc import Iterator
from typing import Any

from voicestatus.simulator.payloads import Json
from voicestatus.simulator.rest.refusals import FormError

EMBEDS, FIELDS, IN_ALL = 10, 25, 6000
TITLE, DESCRIPTION, NAME, VALUE, FOOTER = 256, 4096, 256, 1024, 2048
ROWS, BUTTONS, LABEL, CUSTOM_ID = 5, 5, 80, 100


def check(boxes: list[Json]) -> None:
    """:raises FormError: that names the first that is too long, or empty."""
    _count("embeds", boxes, EMBEDS)
    whole = 0
    for number, box in enumerate(boxes):
        for path, text, limit, needed in _texts(box):
            _text(f"embeds.{number}.{path}", text, limit, needed=needed)
            whole += len(text)
    if whole > IN_ALL:
        words = f"Embed size exceeds maximum size of {IN_ALL}"
        raise FormError("embeds", "MAX_EMBED_SIZE_EXCEEDED", words)


def check_rows(rows: list[Json]) -> None:
    """:raises FormError: that names the first that is too long, or one too many."""
    _count("components", rows, ROWS)
    for number, row in enumerate(rows):
        buttons: Any = row.get("components", [])
        path = f"components.{number}.components"
        _count(path, buttons, BUTTONS)
        for at, button in enumerate(buttons):
            _text(f"{path}.{at}.label", str(button.get("label") or ""), LABEL)
            custom = str(button.get("custom_id") or "")
            _text(f"{path}.{at}.custom_id", custom, CUSTOM_ID)
            if not custom and not button.get("url"):
                code = "BUTTON_COMPONENT_CUSTOM_ID_REQUIRED"
                raise FormError(f"{path}.{at}", code, "A custom id is required")


def _texts(box: Any) -> Iterator[tuple[str, str, int, bool]]:
    yield "title", str(box.get("title") or ""), TITLE, False
    yield "description", str(box.get("description") or ""), DESCRIPTION, False
    footer = box.get("footer") or {}
    yield "footer.text", str(footer.get("text") or ""), FOOTER, False
    fields = box.get("fields") or []
    _count("embeds.fields", fields, FIELDS)
    for at, field in enumerate(fields):
        yield f"fields.{at}.name", str(field.get("name") or ""), NAME, True
        yield f"fields.{at}.value", str(field.get("value") or ""), VALUE, True


def _count(path: str, things: list[Any], most: int) -> None:
    if len(things) > most:
        words = f"Must be {most} or fewer in length."
        raise FormError(path, "BASE_TYPE_MAX_LENGTH", words)


def _text(path: str, text: str, limit: int, *, needed: bool = False) -> None:
    if needed and not text.strip():
        raise FormError(path, "BASE_TYPE_REQUIRED", "This field is required")
    if len(text) > limit:
        words = f"Must be {limit} or fewer in length."
        raise FormError(path, "BASE_TYPE_MAX_LENGTH", words)
