"""How many files may be open: each connection is one."""

import resource
from contextlib import suppress
from typing import Final

from twisted.logger import Logger

_log = Logger()
OTHER_FILES: Final = 64
"""What is kept open beside connections: the store, the gateway, the log, listeners."""


def raise_limit(wanted: int) -> None:
    """Ask for as many open files as there may be connections; take what one gets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft != unlimited and soft < wanted:
        most = wanted if hard == unlimited else min(wanted, hard)
        # macOS allows less than what it names as the hard limit.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def openable(wanted: int) -> int:
    """Return how many connections fit beside all other open files.

    One more would take the file that the gateway needs to come back.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted + OTHER_FILES:
        return wanted
    fit = max(soft - OTHER_FILES, 1)
    _log.warn(
        "at most {fit} connections fit into the limit of {soft} open files; "
        "MAX_CONNECTIONS is {wanted}",
        fit=fit,
        soft=soft,
        wanted=wanted,
    )
    return fit
