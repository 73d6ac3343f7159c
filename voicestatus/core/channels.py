"""A guild's channels: their kinds, and the order in which people see them. Pure.

Source: Discord docs, Channel, "Channel Types".
"""

from collections.abc import Iterable
from typing import Final, Literal, Protocol, TypeVar

from voicestatus.core.ids import ChannelId

TEXT: Final = 0
VOICE: Final = 2
CATEGORY: Final = 4
ANNOUNCEMENT: Final = 5
STAGE: Final = 13

Word = Literal["text", "announcement", "voice", "stage"]
WORDS: Final[dict[int, Word]] = {
    TEXT: "text",
    ANNOUNCEMENT: "announcement",
    VOICE: "voice",
    STAGE: "stage",
}
"""The kinds that matter here; others are left out."""


class Placed(Protocol):
    """A channel, as far as its place matters."""

    @property
    def id(self) -> ChannelId: ...
    @property
    def kind(self) -> int: ...
    @property
    def parent(self) -> ChannelId | None: ...
    @property
    def position(self) -> int: ...


C = TypeVar("C", bound=Placed)


def in_order(channels: Iterable[C]) -> list[C]:
    """Sort as Discord's client does, without the categories.

    Those without a category come first, then category after category; in each, text
    comes before voice. One whose category is not among them counts as without.
    """
    channels = tuple(channels)
    categories = {
        each.id: (each.position, each.id) for each in channels if each.kind == CATEGORY
    }
    first = (-1, 0)

    def place(each: C) -> tuple[tuple[int, int], bool, int, int]:
        within = first if each.parent is None else categories.get(each.parent, first)
        return within, each.kind in {VOICE, STAGE}, each.position, each.id

    return sorted((each for each in channels if each.kind != CATEGORY), key=place)
