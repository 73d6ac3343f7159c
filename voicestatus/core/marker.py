"""What our firmware says of itself, somewhere in its image. Pure."""

import re
from dataclasses import dataclass

from voicestatus.core.chip import Chip

PREFIX = b"VSFW1|"
PRODUCT = "voicestatus"
MOST_BYTES = 128
"""Of a marker, with the NUL at its end."""

_FORM = re.compile(
    rb"VSFW1\|voicestatus\|(?P<chip>[a-z0-9]+)\|(?P<board>[ -{}~]{0,16})"
    rb"\|(?P<version>[ -{}~]{1,24})\|(?P<build>0|[1-9][0-9]{0,9})\|"
)
_NEEDLES = {PREFIX, PREFIX + PRODUCT.encode() + b"|"}
"""What a program holds that looks for markers itself."""
_LARGEST_BUILD = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Marker:
    """`VSFW1|voicestatus|<chip>|<board>|<version>|<build>|` and a NUL."""

    chip: Chip
    board: str
    """Empty: any board with this chip."""
    version: str
    build: int


def parse(text: bytes) -> Marker | None:
    """Read a marker without its NUL; None: it begins as one, and is none of ours."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    board, version = found["board"].decode(), found["version"].decode()
    chip, build = Chip.named(found["chip"].decode()), int(found["build"])
    if chip is None or build > _LARGEST_BUILD:
        return None
    return Marker(chip, board, version, build)


class MarkerSearch:
    """Finds what begins as a marker in a file that comes in pieces."""

    def __init__(self) -> None:
        self._kept = b""
        """The end of what came, where a marker may have begun."""
        self._kept_at = 0

    def feed(self, piece: bytes) -> list[tuple[int, bytes]]:
        """Return the offset and the text of each that is whole."""
        return self._find(self._kept + piece, at_end=False)

    def finish(self) -> list[tuple[int, bytes]]:
        """Return what is left when no more comes."""
        return self._find(self._kept, at_end=True)

    def _find(self, seen: bytes, *, at_end: bool) -> list[tuple[int, bytes]]:
        found, after = [], 0
        while (start := seen.find(PREFIX, after)) >= 0:
            if start + MOST_BYTES > len(seen) and not at_end:
                break
            text, _, _ = seen[start : start + MOST_BYTES].partition(b"\0")
            if text not in _NEEDLES:
                found.append((self._kept_at + start, text))
            after = start + len(PREFIX)
        if start < 0:
            start = max(after, len(seen) - len(PREFIX) + 1)
        self._kept, self._kept_at = seen[start:], self._kept_at + start
        return found
