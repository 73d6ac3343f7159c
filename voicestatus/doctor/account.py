"""What Discord and the way to it tell of the bot's account. Pure."""

from collections.abc import Collection
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult

from voicestatus.core.features import (
    NEEDS,
    PORTAL,
    Feature,
    not_allowed,
    not_built,
    remedy,
    switches,
)
from voicestatus.discord.gateway.identify import SPACING_S
from voicestatus.discord.rest.wire import GatewayBot, OwnUser
from voicestatus.doctor.finding import Finding, failed, ok, warning

FEW_SESSIONS: Final = 100
SKEW_MOST_S: Final = 5.0


def token(me: OwnUser) -> Finding:
    """Say whose token it is."""
    return ok("token", f"it is that of the bot {me.name} ({me.id})")


def token_refused() -> Finding:
    """Say where a new one is made."""
    return failed(
        "token",
        "Discord refuses DISCORD_TOKEN",
        f"Copy the bot's own, or make a new one: {PORTAL} > Bot > Reset Token",
    )


def plain_http(api: SplitResult) -> Finding:
    """Judge an address that is not https."""
    if _is_loopback(api.hostname or ""):
        return ok("tls", f"none to {api.hostname}, which is this machine")
    return warning(
        "tls",
        f"none to {api.hostname}: whoever is on the way can read the token",
        "Let DISCORD_API_URL begin with https://",
    )


def untrusted(host: str) -> Finding:
    """Say what to look at when no certificate is trusted."""
    return failed(
        "tls",
        f"the certificate of {host} is not trusted, or TLS failed",
        "Install ca-certificates, and look at this machine's clock; behind a proxy that"
        " opens TLS, name its authority: SSL_CERT_FILE=/path/to/ca.pem",
    )


def sessions(bot: GatewayBot) -> Finding:
    """Judge how many sessions may still be begun today."""
    left = f"{bot.remaining} new sessions are left" + _until(bot.reset_after_s)
    if bot.remaining > FEW_SESSIONS:
        return ok("sessions", left)
    judged = warning if bot.remaining else failed
    return judged(
        "sessions",
        left,
        "Something starts this bot again and again: look for a second server with this"
        " token, and at the log of what restarts it",
    )


def shards(bot: GatewayBot, wanted: int | None) -> Finding:
    """Compare the number that is set, None for auto, with what Discord recommends."""
    count = bot.shards if wanted is None else wanted
    rounds = -(-count // max(1, bot.max_concurrency))
    begun = f"; all are begun in {SPACING_S * (rounds - 1):.0f} s" if rounds > 1 else ""
    if count >= bot.shards:
        return ok("shards", f"{count}, Discord recommends {bot.shards}{begun}")
    return warning(
        "shards",
        f"SHARDS={count}, and Discord recommends {bot.shards}: it may refuse so few",
        f"Set SHARDS=auto, or {bot.shards}",
    )


def features(flags: int, wanted: Collection[Feature]) -> list[Finding]:
    """Compare what the settings want with the switches of the portal."""
    off = not_allowed(wanted, flags)
    needed = switches(wanted)
    findings = [
        failed(
            "intents",
            f"{_shown(feature)} is off: {needed[feature].name} is not switched on",
            _sentence(remedy(needed[feature])),
        )
        for feature in off
    ]
    if not findings:
        findings.append(ok("intents", _all_on(flags, wanted)))
    for feature, why in not_built(wanted).items():
        findings.append(warning("features", f"{_shown(feature)} is off: {why}"))
    return findings


def _all_on(flags: int, wanted: Collection[Feature]) -> str:
    on = [switch.name for switch in switches(wanted).values()]
    names = [feature.value for feature in Feature if feature in wanted]
    said = f"{' and '.join(on)} is on" if on else "no switch of the portal is needed"
    others = set(Feature).difference(wanted)
    may = sorted(
        each.value
        for each in switches(others).keys() - not_allowed(others, flags).keys()
    )
    also = f"; {' and '.join(may)} could be added to FEATURES" if may else ""
    return f"{', '.join(names)}: {said}{also}"


def _shown(feature: Feature) -> str:
    return f"{feature.value} ({NEEDS[feature].gives})"


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def clock(told: str | None, now: float) -> Finding:
    """Compare our time with the Date header of Discord's answer, cut to seconds."""
    try:
        theirs = parsedate_to_datetime(told or "")
    except ValueError:
        return warning("clock", "not checked: no answer told the time")
    ahead_s = now - theirs.timestamp() - 0.5
    if abs(ahead_s) <= SKEW_MOST_S:
        return ok("clock", f"within {SKEW_MOST_S:.0f} s of Discord's")
    how = "ahead of" if ahead_s > 0 else "behind"
    return warning(
        "clock",
        f"{abs(ahead_s):.0f} s {how} Discord's",
        "Set it by the network: timedatectl set-ntp true (a container has its host's)",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _until(reset_after_s: float) -> str:
    if reset_after_s <= 0:
        return ""
    minutes = int(reset_after_s // 60)
    return f"; all again in {minutes // 60} h {minutes % 60} min"
