"""All checks: at the same time, but told in one order."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from voicestatus.doctor import port, storage
from voicestatus.doctor.discord import DiscordChecks
from voicestatus.doctor.finding import Finding, failed
from voicestatus.settings import Settings

_log = Logger()


async def examine(
    settings: Settings,
    discord: DiscordChecks,
    reactor: Any,
    tell: Callable[[Finding], object],
) -> None:
    """Look at everything outside this process; one check's failure stops no other."""
    running = [
        _begin("port", _one(port.examine(settings.host, settings.port, reactor))),
        _begin("storage", storage.examine(settings.storage_url, reactor)),
        _begin(
            "discord",
            discord.examine(settings.guild_id, settings.features, settings.shards),
        ),
    ]
    if settings.health_port is not None:
        health = port.examine(settings.host, settings.health_port, reactor)
        running.insert(1, _begin("port", _one(health)))
    for findings in running:
        for finding in await findings:
            tell(finding)
    await discord.close()


def _begin(
    check: str, look: Coroutine[Deferred[Any], Any, Iterable[Finding]]
) -> Awaitable[Iterable[Finding]]:
    return Deferred.fromCoroutine(_safely(check, look))


async def _one(look: Awaitable[Finding]) -> list[Finding]:
    return [await look]


async def _safely(check: str, look: Awaitable[Iterable[Finding]]) -> Iterable[Finding]:
    try:
        return await look
    except Exception as e:  # noqa: BLE001 - the others are told all the same
        _log.failure("{check} could not be checked", check=check)
        # Its kind alone: nobody knows what the text holds.
        return [failed(check, f"the check itself failed ({type(e).__name__})")]
