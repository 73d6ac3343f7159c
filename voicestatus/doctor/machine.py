"""What this machine allows, and what is installed on it. Pure."""

import re
from collections.abc import Callable, Iterable
from typing import Final

from voicestatus.doctor.finding import Finding, ok, warning

_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*([^;]*)")
_BOUND: Final = re.compile(r"(>=|<)\s*([0-9.]+)")


def open_files(hard: int | None, connections: int, others: int) -> Finding:
    """Compare the hard limit (None: there is none) with what may be open at once."""
    if hard is None or hard >= connections + others:
        return ok("open files", f"enough for MAX_CONNECTIONS={connections}")
    fit = max(hard - others, 1)
    return warning(
        "open files",
        f"at most {hard} here: {fit} connections fit, MAX_CONNECTIONS is {connections}",
        f"Raise LimitNOFILE (systemd), nofile (Docker) or ulimit -Hn,"
        f" or set MAX_CONNECTIONS={fit}",
    )


def versions(
    python: str, requirements: Iterable[str], installed: Callable[[str], str | None]
) -> Finding:
    """Compare what is installed with what the package asks for."""
    wrong = [
        f"{name} {has or 'missing'} (wanted: {bounds})"
        for name, bounds in map(_parsed, requirements)
        if not _fits(has := installed(name), bounds)
    ]
    ours = f"Python {python}, Twisted {installed('Twisted')}"
    if wrong:
        mend = "Install anew: pip install --upgrade voicestatus"
        return warning("versions", f"{ours}; not as wanted: {', '.join(wrong)}", mend)
    return ok("versions", ours)


def _parsed(requirement: str) -> tuple[str, str]:
    found = _REQUIREMENT.match(requirement)
    return (found[1], found[2].strip()) if found else (requirement, "")


def _fits(has: str | None, bounds: str) -> bool:
    if has is None:
        return False
    version = _numbers(has)
    return all(
        version >= _numbers(bound) if sign == ">=" else version < _numbers(bound)
        for sign, bound in _BOUND.findall(bounds)
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
