"""What Discord and the way to it tell of the bot's account. Pure."""

from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult

from voicestatus.discord.gateway.identify import SPACING_S
from voicestatus.discord.gateway.wire import PRIVILEGED
from voicestatus.discord.rest.wire import GatewayBot, OwnUser
from voicestatus.doctor.finding import Finding, failed, ok, warning

PORTAL: Final = "https://discord.com/developers/applications > your application"
FEW_SESSIONS: Final = 100
SKEW_MOST_S: Final = 5.0
ALLOWING: Final = {
    1 << 1: 1 << 14 | 1 << 15,
    1 << 8: 1 << 12 | 1 << 13,
    1 << 15: 1 << 18 | 1 << 19,
}
"""Privileged intents, and the application flags of which one allows it.

Source: Discord docs, Application, "Application Flags"; the second is a small bot's.
"""
OPTIONAL: Final = {"members": 1 << 1, "message-content": 1 << 15}
"""Features that need a privileged intent; `presence` and `community` need none."""


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


def intents(flags: int, wanted: int) -> Finding:
    """Compare the intents that the server asks for with those the bot may use."""
    missing = [
        name
        for bit, name in PRIVILEGED.items()
        if wanted & bit and not flags & ALLOWING[bit]
    ]
    if missing:
        return failed(
            "intents",
            f"the bot may not use {' and '.join(missing)}, which the settings need",
            f"Switch it on: {PORTAL} > Bot > Privileged Gateway Intents",
        )
    extra = [name for name, bit in OPTIONAL.items() if flags & ALLOWING[bit]]
    also = f"; the bot may also use {' and '.join(extra)}" if extra else ""
    return ok("intents", f"presence and community need none that is privileged{also}")


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
