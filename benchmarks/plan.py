"""How much is measured."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes and numbers of one run."""

    rounds: int = 5
    counts: tuple[int, ...] = (1_000, 10_000)
    flips: int = 20
    quiet_ms: int = 50
    settle_s: float = 1.0
    idle_s: int = 15
    """One ping period, so that it holds each server's pings once; 0: left out."""
    one_sign_changes: int = 200
    whole_count: int = 1_000
    events: int = 50_000
    guild_members: int = 5_000
    guilds: int = 10
    rate_per_s: int = 5_000
    rate_s: int = 5
    journal_s: int = 8
    """Twice the round of a person's changes."""
    downloads: int = 200
    download_signs: int = 1_000
    download_flips: int = 80
    storm_count: int = 10_000
    stream_readers: int = 2_000
    stream_signs: int = 2_000
    stream_events: int = 100
    rules: int = 10_000
    rule_guilds: int = 100
    rule_rate_per_s: int = 500
    rule_s: int = 10


FULL = Plan()
QUICK = Plan(
    rounds=2,
    counts=(200,),
    flips=5,
    quiet_ms=20,
    settle_s=0.2,
    idle_s=0,
    one_sign_changes=20,
    whole_count=100,
    events=2_000,
    guild_members=500,
    guilds=3,
    rate_s=1,
    journal_s=1,
    downloads=10,
    download_signs=200,
    download_flips=10,
    storm_count=200,
    stream_readers=50,
    stream_signs=50,
    stream_events=10,
    rules=500,
    rule_guilds=10,
    rule_s=1,
)
