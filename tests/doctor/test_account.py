"""What is said of the account."""

from urllib.parse import urlsplit

import pytest

from voicestatus.core.features import Feature
from voicestatus.discord.rest.wire import GatewayBot
from voicestatus.doctor import account
from voicestatus.doctor.finding import Verdict

NOON = "Sat, 21 Nov 2026 12:00:00 GMT"
NOON_S = 1795262400.0
MEMBERS, MEMBERS_SMALL = 1 << 14, 1 << 15


def gateway_bot(remaining: int = 1000, shards: int = 1, at_once: int = 1) -> GatewayBot:
    return GatewayBot("wss://x", shards, remaining, 4 * 3600 + 120.5, at_once)


@pytest.mark.parametrize(
    ("remaining", "verdict"),
    [(998, Verdict.OK), (100, Verdict.WARNING), (0, Verdict.FAILED)],
)
def test_few_sessions_are_a_warning_and_none_a_failure(
    remaining: int, verdict: Verdict
):
    finding = account.sessions(gateway_bot(remaining))
    assert finding.verdict is verdict
    assert finding.found.endswith("are left; all again in 4 h 2 min")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (None, "6, Discord recommends 6; all are begun in 10 s"),
        (6, "6, Discord recommends 6; all are begun in 10 s"),
        (8, "8, Discord recommends 6; all are begun in 16 s"),
    ],
)
def test_enough_shards_are_well_and_it_is_told_how_long_they_take(
    wanted: int | None, found: str
):
    assert account.shards(gateway_bot(shards=6, at_once=2), wanted).found == found


def test_fewer_shards_than_recommended_are_a_warning_that_names_the_number():
    finding = account.shards(gateway_bot(shards=6), 4)
    assert finding.verdict is Verdict.WARNING
    assert "SHARDS=auto, or 6" in finding.remedy


def test_presence_and_community_need_no_switch():
    (finding,) = account.features(0, {Feature.PRESENCE, Feature.COMMUNITY})
    assert finding.verdict is Verdict.OK
    assert finding.found == "presence, community: no switch of the portal is needed"


@pytest.mark.parametrize("flag", [MEMBERS, MEMBERS_SMALL])
def test_a_switch_that_is_on_is_named_and_what_it_would_allow(flag: int):
    (needed,) = account.features(flag, {Feature.PRESENCE, Feature.MEMBERS})
    assert "Server Members Intent is on" in needed.found
    (more,) = account.features(flag, {Feature.PRESENCE})
    assert "members could be added to FEATURES" in more.found


def test_each_feature_that_is_off_is_told_with_what_it_gives_and_where_to_mend_it():
    off, unbuilt = account.features(MEMBERS, set(Feature))
    assert off.verdict is Verdict.FAILED
    assert off.found == (
        "message-content (the text of recent messages) is off:"
        " Message Content Intent is not switched on"
    )
    assert "Privileged Gateway Intents" in off.remedy
    assert unbuilt.verdict is Verdict.WARNING
    assert "voice listener" in unbuilt.found


@pytest.mark.parametrize("off_s", [-4.0, 0.0, 0.99, 5.4])
def test_a_clock_that_is_nearly_right_is_right(off_s: float):
    assert account.clock(NOON, NOON_S + off_s).verdict is Verdict.OK


@pytest.mark.parametrize(
    ("off_s", "told"), [(90.5, "90 s ahead of"), (-3600, "3600 s behind")]
)
def test_a_clock_that_is_wrong_is_a_warning_that_says_how_to_set_it(
    off_s: float, told: str
):
    finding = account.clock(NOON, NOON_S + off_s)
    assert finding.verdict is Verdict.WARNING
    assert told in finding.found
    assert "timedatectl" in finding.remedy


@pytest.mark.parametrize("told", [None, "", "yesterday", "Sat, 99 Nov 2026"])
def test_a_time_that_nobody_tells_is_not_judged(told: str | None):
    assert "not checked" in account.clock(told, NOON_S).found


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_a_token_may_travel_openly_on_this_machine(host: str):
    assert account.plain_http(urlsplit(f"http://{host}:1/")).verdict is Verdict.OK


def test_a_token_that_travels_openly_is_a_warning():
    finding = account.plain_http(urlsplit("http://discord.example/api"))
    assert finding.verdict is Verdict.WARNING
    assert "https://" in finding.remedy
