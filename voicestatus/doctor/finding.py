"""What a check found, and what to do about it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LISTED: Final = 10


class Verdict(StrEnum):
    """Whether the server would do its work."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `remedy` is a whole sentence, without its full stop."""

    verdict: Verdict
    check: str
    found: str
    remedy: str = ""

    def line(self) -> str:
        """Write it for a terminal; names of servers and channels are foreign text."""
        said = f"{self.found}. {self.remedy}" if self.remedy else self.found
        printable = "".join(
            c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in said
        )
        return f"{self.verdict:<8} {self.check:<12} {printable}"


def ok(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(Verdict.OK, check, found)


def warning(check: str, found: str, remedy: str = "") -> Finding:
    """It works, but not as well as it might; or nobody can know."""
    return Finding(Verdict.WARNING, check, found, remedy)


def failed(check: str, found: str, remedy: str = "") -> Finding:
    """The server would not do its work, or a part of it."""
    return Finding(Verdict.FAILED, check, found, remedy)


def listed(names: Sequence[str]) -> str:
    """Join names, the first of them when there are many."""
    shown = ", ".join(names[:LISTED])
    more = len(names) - LISTED
    return f"{shown} and {more} more" if more > 0 else shown
