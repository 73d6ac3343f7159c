"""A rollout, told by what happens to its devices."""

from dataclasses import replace

import msgspec
import pytest

from voicestatus.core.chip import Chip
from voicestatus.core.eligibility import CAN_UPDATE, Facts
from voicestatus.core.plan import parse
from voicestatus.core.release import Channel, Release
from voicestatus.core.roll import Roll
from voicestatus.core.rollout import Offer, Probe, Run, Say, Withdraw
from voicestatus.core.rollout_state import DeviceState, Rollout

NOW = 1_800_014_400.0  # noon in UTC
RELEASE = Release(
    id="esp32-2-abc",
    chip=Chip.ESP32,
    board="",
    version="2.0",
    build=2,
    min_build=0,
    floor=0,
    not_after=0,
    size_bytes=1000,
    sha256="abc",
    manifest="",
    md5="0" * 32,
    channel=Channel.STABLE,
    legacy=True,
    added_at=0.0,
)
ALL_AT_ONCE = [{"percent": 100, "soakS": 0, "successPercent": 0}]


class Bench:
    """A fleet, a rollout of one release to it, and what it wants to be done."""

    def __init__(self, *devices: Facts, **plan: object) -> None:
        plan = {"stages": ALL_AT_ONCE, "haltAt": {"percent": None}, **plan}
        self.plan = parse({"releases": [RELEASE.id], "ratePerMinute": 6000, **plan})
        self.facts = {facts.id: facts for facts in devices}
        self.now = NOW
        self.wanted: list[object] = []
        roll = Roll(self.plan, [RELEASE])
        for facts in devices:
            roll.take(facts, NOW)
        states = [*roll.waiting(), *roll.skipped()]
        sizes = self.plan.sizes(len(roll.waiting()))
        rollout = Rollout(id="r", plan=self.plan, created_at=NOW, sizes=sizes)
        self.run = Run(rollout, states, [RELEASE], self.facts.get)
        self.do(self.run.began(NOW))

    def do(self, effects: list[object]) -> None:
        """Send offers and withdraw them at once; keep what is wanted in mind."""
        self.wanted += effects
        for effect in effects:
            match effect:
                case Offer(device, _):
                    self.do(self.run.sent(device, self.now))
                case Withdraw(device):
                    self.do(self.run.withdrawn(device, self.now))
                case Probe(device):
                    self.do(self.run.asked(device, self.now))
                case _:
                    pass

    def wait(self, seconds: float) -> None:
        """Let it wake whenever it wants to, until then."""
        end = self.now + seconds
        while (at := self.run.wakes_at) is not None and at <= end:
            self.now = max(self.now, at)
            self.do(self.run.tick(self.now))
        self.now = end

    def set_clock(self, by_s: float) -> None:
        self.now += by_s
        self.do(self.run.clock_was_set(by_s, self.now))

    def see(self, device: str, **changes: object) -> None:
        self.facts[device] = replace(self.facts[device], **changes)
        self.do(self.run.seen(device, self.now))

    def leave(self, device: str) -> None:
        self.see(device, connected_at=None, introduced=False)

    def come(self, device: str, **said: object) -> None:
        said = {"introduced": not self.facts[device].legacy, **said}
        self.see(device, connected_at=self.now, **said)

    def fetch(self, device: str, percent: int) -> None:
        whole = percent == 100
        self.do(self.run.fetched(device, RELEASE.id, percent * 10, whole, self.now))

    def report(self, device: str, phase: str, **more: object) -> None:
        self.do(self.run.reported(device, RELEASE.id, phase, self.now, **more))

    def update(self, device: str) -> None:
        """Let it fetch, go, and come back with the release."""
        self.fetch(device, 0)
        self.fetch(device, 100)
        self.leave(device)
        self.now += 1
        if self.facts[device].legacy:
            self.come(device)
        else:
            self.come(device, build=2, boot="trial")

    def restart(self) -> None:
        """Go on in another process, with what is stored."""
        stored = msgspec.json.encode(self.run.rollout)
        states = msgspec.json.encode([*self.run.states()])
        self.run = Run(
            msgspec.json.decode(stored, type=Rollout),
            msgspec.json.decode(states, type=list[DeviceState]),
            [RELEASE],
            self.facts.get,
        )
        self.do(self.run.resumed(self.now))

    def phase(self, device: str) -> str:
        state = self.run.state(device)
        return state.phase.value + (f": {state.why}" if state.why else "")

    @property
    def phases(self) -> list[str]:
        return [self.phase(device) for device in self.facts]

    @property
    def status(self) -> str:
        rollout = self.run.rollout
        return rollout.status.value + (f": {rollout.why}" if rollout.why else "")

    @property
    def offers(self) -> list[str]:
        return [one.device for one in self.wanted if isinstance(one, Offer)]


def new(id_: str = "a", **changes: object) -> Facts:
    """Return a device of version 2 that is here."""
    return Facts(
        **{
            "id": id_,
            "legacy": False,
            "chip": "esp32",
            "build": 1,
            "caps": (CAN_UPDATE,),
            "connected_at": NOW - 100,
            "introduced": True,
            "boot": "power",
            **changes,
        }
    )


def old(id_: str = "a", **changes: object) -> Facts:
    return new(id_, **{"legacy": True, "build": None, "introduced": False, **changes})


def fleet(count: int) -> list[Facts]:
    return [new(f"d{n}") for n in range(count)]


# ---- the way of one device -----------------------------------------------------------


def test_a_device_that_speaks_is_followed_to_the_end():
    bench = Bench(new())
    assert bench.offers == ["a"]
    assert bench.phase("a") == "offered"
    bench.report("a", "downloading", progress=40)
    assert bench.phase("a") == "fetching"
    assert bench.run.state("a").progress == 40
    bench.report("a", "verifying")
    assert bench.phase("a") == "fetched"
    bench.report("a", "rebooting")
    bench.leave("a")
    bench.now += 20
    bench.come("a", build=2, boot="trial")
    assert bench.phase("a") == "rebooted"
    assert bench.status == "running"
    bench.wait(300)
    assert bench.phase("a") == "confirmed"
    assert bench.status == "finished"
    assert bench.run.rollout.counts["confirmed"] == 1
    assert bench.run.wakes_at is None


def test_an_old_device_is_judged_by_what_it_fetched_and_that_it_came_back():
    bench = Bench(old())
    bench.leave("a")
    bench.fetch("a", 0)
    bench.now += 5
    bench.fetch("a", 100)
    assert bench.phase("a") == "fetched"
    bench.now += 20
    bench.come("a")
    assert bench.phase("a") == "rebooted"
    bench.wait(300)
    assert bench.phase("a") == "confirmed"


@pytest.mark.parametrize(
    ("md5", "phase"), [(RELEASE.md5, "confirmed"), ("1" * 32, "failed: old_build")]
)
def test_a_probe_says_what_an_old_device_runs(md5, phase):
    bench = Bench(old(), probe=True)
    bench.update("a")
    bench.wait(300)
    assert Probe("a") in bench.wanted
    assert bench.phase("a") == "rebooted"
    bench.leave("a")
    bench.now += 5
    bench.see("a", md5=md5, asked_at=bench.now)
    assert bench.phase("a") == phase


def test_an_old_device_that_does_not_answer_its_probe_is_judged_without():
    bench = Bench(old(), probe=True)
    bench.update("a")
    bench.wait(300 + 121)
    assert bench.phase("a") == "confirmed"


def test_an_old_device_whose_chip_is_not_known_is_asked_first():
    bench = Bench(old(chip=""), probe=True)
    assert bench.wanted[-1] == Probe("a")
    assert not bench.offers
    assert bench.phase("a") == "pending"
    bench.see("a", chip="esp32", asked_at=bench.now, connected_at=bench.now + 5)
    bench.wait(1)
    assert bench.offers == ["a"]


def test_it_is_asked_once():
    bench = Bench(old(chip=""), probe=True)
    bench.see("a", rtt_ms=5.0)
    bench.wait(1200)
    assert bench.wanted.count(Probe("a")) == 1
    assert bench.phase("a") == "skipped: unknown_chip"


def test_a_device_says_that_it_failed_and_why():
    bench = Bench(new())
    bench.report("a", "failed", error="bad signature")
    assert bench.phase("a") == "failed: reported"
    assert bench.run.state("a").said == "bad signature"
    assert Withdraw("a") in bench.wanted


def test_a_report_about_another_release_is_none():
    bench = Bench(new())
    bench.do(bench.run.reported("a", "esp32-1-old", "failed", NOW))
    bench.do(bench.run.reported("b", RELEASE.id, "failed", NOW))
    bench.report("a", "of a later version")
    assert bench.phase("a") == "offered"


def test_a_device_that_is_here_and_does_not_answer_has_failed():
    bench = Bench(new())
    bench.wait(60)
    assert bench.phase("a") == "failed: unanswered"


def test_a_device_that_lost_its_connection_before_it_fetched_is_offered_it_again():
    bench = Bench(new())
    bench.leave("a")
    bench.wait(61)
    assert bench.phase("a") == "pending"
    assert Withdraw("a") in bench.wanted
    bench.come("a")
    bench.wait(60)
    assert bench.offers == ["a", "a"]
    assert bench.run.state("a").tries == 2


def test_but_not_for_ever():
    bench = Bench(new())
    for _ in range(3):
        bench.leave("a")
        bench.wait(70)
        bench.come("a")
        bench.wait(40)
    assert bench.offers == ["a"] * 3
    assert bench.phase("a") == "failed: unanswered"


def test_it_may_begin_to_fetch_while_its_offer_is_withdrawn():
    bench = Bench(new())
    bench.leave("a")
    effects = bench.run.tick(NOW + 61)
    assert Withdraw("a") in effects
    bench.fetch("a", 10)
    bench.do(bench.run.withdrawn("a", NOW + 61))
    assert bench.phase("a") == "fetching"


def test_a_download_that_takes_too_long_has_failed():
    bench = Bench(new())
    bench.report("a", "downloading", progress=1)
    bench.wait(890)
    bench.report("a", "downloading", progress=99)
    bench.wait(11)
    assert bench.phase("a") == "failed: timed_out"


@pytest.mark.parametrize("device", [new(), old()])
def test_a_device_that_is_back_before_it_had_all_bytes_was_interrupted(device):
    bench = Bench(device)
    bench.leave("a")
    bench.fetch("a", 50)
    bench.now += 10
    bench.come("a")
    bench.wait(59)
    bench.see("a", rtt_ms=5.0)
    assert bench.phase("a") == "fetching"
    bench.wait(2)
    assert bench.phase("a") == "failed: interrupted"


def test_a_device_that_goes_on_fetching_was_not_interrupted():
    bench = Bench(new())
    bench.fetch("a", 50)
    bench.leave("a")
    bench.now += 10
    bench.come("a")
    bench.wait(30)
    bench.fetch("a", 60)
    bench.wait(100)
    assert bench.phase("a") == "fetching"


def test_a_device_that_never_comes_back_has_failed():
    bench = Bench(new())
    bench.fetch("a", 100)
    bench.leave("a")
    bench.wait(599)
    assert bench.phase("a") == "fetched"
    bench.wait(2)
    assert bench.phase("a") == "failed: not_back"


def test_a_device_that_dies_while_it_fetches_has_failed():
    bench = Bench(new())
    bench.fetch("a", 30)
    bench.leave("a")
    bench.wait(901)
    assert bench.phase("a") == "failed: not_back"


def test_a_device_that_comes_back_with_what_it_had_has_failed():
    bench = Bench(new())
    bench.fetch("a", 100)
    bench.leave("a")
    bench.now += 20
    bench.come("a")
    assert bench.phase("a") == "fetched"
    bench.wait(61)
    assert bench.phase("a") == "failed: old_build"


def test_a_device_may_lose_its_connection_before_it_starts_anew():
    bench = Bench(new())
    bench.fetch("a", 100)
    bench.now += 1
    bench.come("a")
    bench.wait(30)
    bench.leave("a")
    bench.wait(40)
    bench.come("a", build=2)
    assert bench.phase("a") == "rebooted"


def test_what_a_device_ran_before_its_hello_is_not_what_it_runs():
    bench = Bench(new())
    bench.fetch("a", 100)
    bench.leave("a")
    bench.now += 20
    bench.come("a", introduced=False)
    bench.wait(100)
    assert bench.phase("a") == "fetched"
    bench.come("a", build=2)
    assert bench.phase("a") == "rebooted"


@pytest.mark.parametrize(
    ("said", "phase"),
    [
        ({"build": 1, "boot": "rollback"}, "failed: rolled_back"),
        ({"build": 2, "boot": "crash"}, "failed: crashed"),
    ],
)
def test_a_device_says_by_its_boot_that_it_failed(said, phase):
    bench = Bench(new())
    bench.fetch("a", 100)
    bench.leave("a")
    bench.now += 20
    bench.come("a", **said)
    assert bench.phase("a") == phase


def test_a_rollback_of_long_ago_says_nothing():
    bench = Bench(new(boot="rollback"))
    bench.fetch("a", 100)
    bench.leave("a")
    bench.now += 20
    bench.come("a", boot="rollback")
    assert bench.phase("a") == "fetched"


# ---- the health gate -----------------------------------------------------------------


def test_a_device_that_crashes_while_it_is_watched_has_failed():
    bench = Bench(new())
    bench.update("a")
    bench.leave("a")
    bench.now += 5
    bench.come("a", boot="crash")
    assert bench.phase("a") == "failed: crashed"


def test_a_device_that_goes_back_while_it_is_watched_has_failed():
    bench = Bench(new())
    bench.update("a")
    bench.come("a", build=1, boot="rollback")
    assert bench.phase("a") == "failed: rolled_back"


def test_a_device_that_got_something_newer_meanwhile_is_none_of_ours():
    bench = Bench(new())
    bench.update("a")
    bench.come("a", build=3)
    assert bench.phase("a") == "skipped: newer"


def test_a_device_that_comes_and_goes_has_failed():
    bench = Bench(new(), gate={"reconnects": 2})
    bench.update("a")
    for n in range(3):
        assert bench.phase("a") == "rebooted", n
        bench.now += 5
        bench.leave("a")
        bench.come("a", boot="ota")
    assert bench.phase("a") == "failed: unstable"


def test_a_connection_in_place_of_another_is_a_reconnect_too():
    bench = Bench(new(), gate={"reconnects": 0})
    bench.update("a")
    bench.now += 5
    bench.come("a")
    assert bench.phase("a") == "failed: unstable"


def test_a_device_that_is_away_when_it_is_looked_at_has_some_time():
    bench = Bench(new())
    bench.update("a")
    bench.wait(200)
    bench.leave("a")
    bench.wait(300)
    assert bench.phase("a") == "rebooted"
    bench.come("a")
    bench.wait(30)
    assert bench.phase("a") == "confirmed"


def test_but_not_for_long():
    bench = Bench(new())
    bench.update("a")
    bench.leave("a")
    bench.wait(901)
    assert bench.phase("a") == "failed: gone"


@pytest.mark.parametrize(
    ("before", "after", "phase"),
    [
        (20.0, 900.0, "confirmed"),
        (20.0, 1001.0, "failed: slow"),
        (500.0, 1400.0, "confirmed"),
        (None, 9000.0, "confirmed"),
        (20.0, None, "confirmed"),
    ],
)
def test_a_device_whose_round_trip_became_worse_has_failed(before, after, phase):
    bench = Bench(new(rtt_ms=before))
    bench.update("a")
    bench.see("a", rtt_ms=after)
    bench.wait(300)
    assert bench.phase("a") == phase


@pytest.mark.parametrize(
    ("said", "phase"),
    [
        ({"boot": "crash"}, "failed: crashed"),
        ({"build": 1}, "failed: rolled_back"),
        ({"boot": "power"}, "confirmed"),
    ],
)
def test_a_device_that_was_confirmed_is_watched_while_its_stage_is(said, phase):
    soaking = [{"percent": 100, "soakS": 600}]
    bench = Bench(new(), stages=soaking)
    bench.update("a")
    bench.wait(400)
    assert bench.phase("a") == "confirmed"
    bench.come("a", **said)
    assert bench.phase("a") == phase


# ---- stages --------------------------------------------------------------------------


def test_one_then_a_tenth_then_half_then_all():
    stages = [{"count": 1}, {"percent": 10}, {"percent": 50}, {"percent": 100}]
    bench = Bench(*fleet(20), stages=stages)
    held = []
    while bench.status == "running":
        bench.wait(30)
        fresh = [d for d in bench.offers if bench.phase(d) == "offered"]
        if fresh:
            held.append(len(fresh))
        for device in fresh:
            bench.update(device)
        bench.wait(900)
    assert held == [1, 1, 8, 10]
    assert bench.status == "finished"
    assert set(bench.phases) == {"confirmed"}
    said = [one.what for one in bench.wanted if isinstance(one, Say)]
    assert said == [*["stage", "soaking"] * 4, "finished"]


def test_a_stage_soaks_before_the_next_one_begins():
    bench = Bench(*fleet(2), stages=[{"count": 1, "soakS": 1000}, {"percent": 100}])
    bench.update(bench.offers[0])
    bench.wait(1299)
    assert len(bench.offers) == 1
    bench.wait(2)
    assert len(bench.offers) == 2


def test_devices_that_are_away_hold_no_stage_up():
    devices = fleet(10)
    first = Bench(*devices).offers[0]
    devices = [
        replace(one, connected_at=None) if one.id == first else one for one in devices
    ]
    bench = Bench(*devices, stages=[{"count": 1, "soakS": 0}, *ALL_AT_ONCE])
    assert bench.offers
    assert first not in bench.offers
    while len(bench.offers) < 9:
        bench.update(bench.offers[-1])
        bench.wait(301)
    for device in bench.offers:
        if bench.phase(device) == "offered":
            bench.update(device)
    bench.wait(301)
    assert bench.status == "running"
    bench.come(first)
    bench.wait(1)
    assert bench.offers[-1] == first


def test_who_never_comes_is_given_up_after_the_time_of_the_plan():
    bench = Bench(new(connected_at=None), keepS=3600)
    bench.wait(3601)
    assert bench.phase("a") == "skipped: away"
    assert bench.status == "finished"


def test_a_plan_may_end_before_all_have_it():
    bench = Bench(*fleet(4), stages=[{"count": 1, "soakS": 0}])
    bench.update(bench.offers[0])
    bench.wait(301)
    assert bench.status == "finished"
    assert sorted(bench.phases) == ["confirmed"] + ["skipped: beyond"] * 3


def test_a_rollout_to_nobody_ends_at_once():
    bench = Bench(new(build=2))
    assert bench.status == "finished"
    assert bench.phases == ["skipped: current"]


def test_a_bad_build_is_halted_in_the_first_stage():
    bench = Bench(*fleet(100), stages=[{"count": 5}, {"percent": 100}])
    bench.wait(10)
    assert len(bench.offers) == 5
    for device in bench.offers:
        bench.fetch(device, 100)
        bench.leave(device)
    bench.wait(601)
    assert bench.status == "halted: stage"
    assert sorted(bench.run.rollout.failures) == sorted(bench.offers)
    bench.wait(86_400)
    assert len(bench.offers) == 5
    assert bench.phases.count("failed: not_back") == 5
    assert bench.phases.count("pending") == 95


def test_a_rollout_halts_as_soon_as_too_many_have_failed():
    bench = Bench(*fleet(10), stages=[{"percent": 100, "successPercent": 80}])
    bench.wait(1)
    for n, device in enumerate(bench.offers):
        bench.report(device, "failed")
        assert (bench.status == "running") == (n < 2)


def test_a_percentage_of_few_says_nothing():
    bench = Bench(*fleet(30), haltAt={"percent": 20})
    bench.wait(1)
    for n, device in enumerate(bench.offers[:6]):
        assert (bench.status == "running") == (n < 5)
        bench.report(device, "failed")
    assert bench.status == "halted: percent"


def test_a_rollout_halts_at_a_number_of_failures():
    bench = Bench(*fleet(30), haltAt={"percent": None, "count": 2})
    bench.wait(1)
    first, second, *_ = bench.offers
    bench.report(first, "failed")
    bench.report(second, "failed")
    assert bench.status == "halted: count"
    assert bench.run.rollout.failures == tuple(sorted([first, second]))
    assert bench.wanted[-1] == Say("halted", "count", tuple(sorted([first, second])))


# ---- what people say -----------------------------------------------------------------


def test_paused_it_offers_nothing_and_follows_what_is_under_way():
    bench = Bench(*fleet(3), ratePerMinute=1)
    bench.do(bench.run.pause(bench.now))
    bench.wait(30)
    bench.update(bench.offers[0])
    bench.wait(3600)
    assert len(bench.offers) == 1
    assert bench.phase(bench.offers[0]) == "confirmed"
    bench.do(bench.run.resume(bench.now))
    assert len(bench.offers) == 2


def test_resumed_after_a_halt_it_forgives_what_halted_it():
    bench = Bench(*fleet(3), stages=[{"count": 1, "soakS": 0}, *ALL_AT_ONCE])
    bench.report(bench.offers[0], "failed")
    assert bench.status == "halted: stage"
    bench.do(bench.run.resume(bench.now))
    bench.wait(1)
    assert bench.status == "running"
    assert len(bench.offers) == 3
    assert bench.run.rollout.failures == ()


def test_what_failed_is_offered_again_at_a_persons_word_only():
    bench = Bench(*fleet(2), stages=[{"count": 1, "soakS": 0}, *ALL_AT_ONCE])
    (failed,) = bench.offers
    bench.report(failed, "failed")
    bench.do(bench.run.resume(bench.now))
    bench.come(failed)
    bench.wait(30)
    assert bench.offers.count(failed) == 1
    bench.do(bench.run.retry([failed], bench.now))
    assert bench.offers.count(failed) == 2


def test_a_retry_takes_nobody_elses_place():
    bench = Bench(*fleet(2), stages=[{"count": 1}, {"percent": 100}])
    (failed,) = bench.offers
    bench.report(failed, "failed")
    bench.leave(failed)
    bench.do(bench.run.retry([failed], bench.now))
    bench.do(bench.run.resume(bench.now))
    bench.wait(60)
    assert bench.offers == [failed]
    bench.come(failed)
    assert bench.offers == [failed, failed]


def test_aborted_it_ends_when_nothing_is_under_way():
    bench = Bench(*fleet(3), ratePerMinute=1)
    (first,) = bench.offers
    bench.do(bench.run.abort(bench.now))
    assert bench.status == "aborted"
    assert bench.run.rollout.alive
    assert bench.phases.count("skipped: aborted") == 2
    bench.update(first)
    bench.wait(301)
    assert bench.phase(first) == "confirmed"
    assert not bench.run.rollout.alive
    bench.do(bench.run.retry(list(bench.facts), bench.now))
    bench.do(bench.run.resume(bench.now))
    assert bench.phases.count("skipped: aborted") == 2


def test_rolled_back_it_ends_with_those_that_do_it():
    bench = Bench(new())
    bench.update("a")
    bench.wait(200)
    bench.do(bench.run.abort(bench.now, undone_by=("r2",)))
    bench.wait(101)
    assert bench.status == "rolling_back"
    assert bench.run.rollout.alive
    bench.do(bench.run.rolled_back(bench.now))
    assert bench.status == "aborted"
    assert not bench.run.rollout.alive


def test_a_newer_rollout_takes_those_that_wait():
    bench = Bench(*fleet(3), ratePerMinute=1)
    bench.do(bench.run.supersede(list(bench.facts), bench.now))
    assert bench.phases.count("superseded") == 2
    bench.update(bench.offers[0])
    bench.wait(301)
    assert bench.status == "finished"


# ---- when it may speak ---------------------------------------------------------------


def test_offers_are_spread_over_the_minute():
    bench = Bench(*fleet(5), ratePerMinute=3)
    bench.wait(59)
    assert len(bench.offers) == 3
    bench.wait(2)
    assert len(bench.offers) == 4


def test_a_few_at_a_time():
    bench = Bench(*fleet(5), atOnce=2)
    bench.wait(10)
    assert len(bench.offers) == 2
    bench.fetch(bench.offers[0], 100)
    bench.wait(10)
    assert len(bench.offers) == 3


def test_offers_are_made_in_maintenance_windows():
    night = {"from": "23:00", "to": "04:00", "tz": "Europe/Berlin"}
    bench = Bench(new(), windows=[night])
    bench.wait(10 * 3600 - 1)
    assert bench.offers == []
    bench.wait(2)
    assert bench.offers == ["a"]


def test_an_offer_that_waited_too_long_to_be_sent_is_not_sent():
    night = {"from": "12:00", "to": "13:00", "tz": "UTC"}
    bench = Bench(new(), windows=[night])
    assert bench.run.may_send("a", NOW + 3599)
    assert not bench.run.may_send("a", NOW + 3600)
    assert not bench.run.may_send("b", NOW)
    bench.run.pause(NOW)
    assert not bench.run.may_send("a", NOW)


def test_a_lit_sign_is_left_alone_until_it_is_dark():
    bench = Bench(new(lit=True), notWhileLit=True)
    bench.wait(3600)
    assert bench.offers == []
    bench.see("a", lit=False)
    assert bench.offers == ["a"]


def test_that_a_sign_went_dark_is_noticed_without_being_told():
    bench = Bench(new(lit=True), notWhileLit=True)
    bench.facts["a"] = new()
    bench.wait(31)
    assert bench.offers == ["a"]


def test_a_device_that_another_rollout_updates_has_to_wait():
    bench = Bench(new(busy=True))
    assert bench.offers == []
    bench.facts["a"] = new()
    bench.wait(31)
    assert bench.offers == ["a"]


def test_a_device_that_has_just_gone_is_offered_it_later():
    bench = Bench(new(connected_at=None))
    bench.facts["a"] = new()
    (offer,) = [e for e in bench.run.seen("a", NOW) if isinstance(e, Offer)]
    bench.do(bench.run.unsent(offer.device, NOW))
    assert bench.phase("a") == "pending"
    bench.wait(31)
    assert bench.offers == ["a"]
    assert bench.run.state("a").tries == 1


def test_what_the_server_cannot_say_is_not_tried_for_ever():
    bench = Bench(new(connected_at=None))
    bench.facts["a"] = new()
    bench.run.seen("a", NOW)
    bench.do(bench.run.refused("a", "set PUBLIC_URL", NOW))
    assert bench.phase("a") == "skipped: not_sent"
    assert bench.run.state("a").said == "set PUBLIC_URL"
    assert bench.status == "finished"


# ---- devices that change -------------------------------------------------------------


def test_a_device_is_judged_again_when_its_turn_comes():
    bench = Bench(new(connected_at=None), new("b", connected_at=None))
    bench.come("a", build=2)
    bench.facts.pop("b")
    bench.do(bench.run.seen("b", NOW))
    assert bench.phase("a") == "skipped: current"
    assert bench.run.state("b").why == "forgotten"


def test_a_device_that_left_the_target_is_not_touched():
    bench = Bench(new(tags=("x",), connected_at=None), target={"tags": ["x"]})
    bench.come("a", tags=())
    assert bench.phase("a") == "skipped: outside"


def test_what_spoke_against_a_device_may_be_over():
    # Another one keeps it alive.
    bench = Bench(new(approved=False), new("b", connected_at=None))
    assert bench.phase("a") == "skipped: not_approved"
    bench.see("a", approved=True)
    assert bench.offers == ["a"]


@pytest.mark.parametrize("gone", ["revoked", "forgotten"])
def test_a_device_that_is_taken_out_while_it_updates_has_not_failed(gone):
    bench = Bench(new(), haltAt={"count": 1})
    if gone == "revoked":
        bench.see("a", revoked=True)
    else:
        del bench.facts["a"]
        bench.do(bench.run.seen("a", NOW))
    assert bench.run.state("a").why == gone
    assert Withdraw("a") in bench.wanted
    assert bench.status == "finished"


# ---- restarts ------------------------------------------------------------------------


def test_nobody_is_offered_it_twice_because_of_a_restart():
    bench = Bench(new())
    bench.report("a", "downloading")
    bench.restart()
    bench.fetch("a", 100)
    bench.leave("a")
    bench.restart()
    bench.come("a", build=2)
    bench.restart()
    bench.wait(301)
    assert bench.phase("a") == "confirmed"
    assert bench.offers == ["a"]


def test_what_a_device_did_meanwhile_is_seen_by_what_it_runs():
    bench = Bench(new())
    bench.leave("a")
    bench.restart()
    bench.now += 60
    bench.come("a", build=2, boot="trial")
    assert bench.phase("a") == "rebooted"


def test_what_an_old_device_did_meanwhile_is_seen_when_it_was_asked():
    bench = Bench(old())
    bench.leave("a")
    bench.restart()
    bench.now += 60
    bench.come("a", md5=RELEASE.md5, asked_at=bench.now)
    assert bench.phase("a") == "rebooted"


@pytest.mark.parametrize("device", [new(), old()])
@pytest.mark.parametrize("percent", [None, 50])
def test_a_device_that_a_restart_interrupted_is_offered_it_again(device, percent):
    bench = Bench(device)
    if percent is not None:
        bench.fetch("a", percent)
    bench.leave("a")
    bench.restart()
    bench.now += 5
    bench.come("a")
    bench.wait(100)
    assert bench.offers == ["a", "a"]


def test_a_device_that_was_lost_in_a_restart_has_failed():
    bench = Bench(new())
    bench.leave("a")
    bench.restart()
    bench.wait(601)
    assert bench.phase("a") == "failed: not_back"


def test_a_stage_soaks_anew_after_a_restart():
    bench = Bench(new(), stages=[{"percent": 100, "soakS": 600}])
    bench.update("a")
    bench.wait(800)
    assert bench.run.rollout.soak_until is not None
    bench.restart()
    bench.wait(599)
    assert bench.status == "running"
    bench.wait(2)
    assert bench.status == "finished"


def test_without_its_release_nothing_goes_on():
    bench = Bench(new())
    states = [*bench.run.states()]
    bench.run = Run(bench.run.rollout, states, [], bench.facts.get)
    bench.do(bench.run.resumed(NOW))
    assert bench.phase("a") == "skipped: release_gone"
    assert bench.status == "finished"


def test_a_device_of_which_that_is_not_sure_keeps_its_place_in_the_stage():
    first = Bench(*fleet(2), stages=[{"count": 1}, {"percent": 100}]).offers[0]
    bench = Bench(*fleet(2), stages=[{"count": 1}, {"percent": 100}], notWhileLit=True)
    bench.leave(first)
    bench.restart()
    bench.now += 5
    bench.come(first, lit=True)
    bench.wait(3600)
    assert bench.phase(first) == "pending"
    assert bench.offers == [first]
    bench.restart()
    bench.wait(60)
    bench.leave(first)
    bench.wait(1300)
    assert bench.phase(first) == "failed: not_back"
    assert bench.status == "halted: stage"


def test_a_device_of_which_that_is_not_sure_is_left_to_a_newer_rollout_after_it():
    bench = Bench(new(), notWhileLit=True)
    bench.leave("a")
    bench.restart()
    bench.now += 5
    bench.come("a", lit=True)
    bench.wait(100)
    assert bench.run.state("a").doubtful
    bench.do(bench.run.resumed(bench.now, {"a"}))
    assert bench.phase("a") == "superseded"


def test_a_device_may_be_on_its_way_back_during_a_restart():
    bench = Bench(new())
    bench.fetch("a", 100)
    bench.leave("a")
    bench.restart()
    bench.wait(590)
    assert bench.phase("a") == "fetched"
    bench.wait(20)
    assert bench.phase("a") == "failed: not_back"


def test_what_is_said_too_late_changes_nothing():
    bench = Bench(new())
    bench.update("a")
    bench.report("a", "downloading", progress=10)
    bench.report("a", "verifying")
    bench.report("a", "failed")
    assert bench.phase("a") == "rebooted"
    assert bench.run.state("a").progress == 100


def test_an_old_device_that_was_asked_while_it_was_watched_is_not_asked_again():
    bench = Bench(old(), probe=True)
    bench.update("a")
    bench.now += 5
    bench.see("a", md5=RELEASE.md5, asked_at=bench.now)
    bench.wait(300)
    assert bench.phase("a") == "confirmed"
    assert Probe("a") not in bench.wanted


def test_an_old_device_that_was_confirmed_is_believed():
    bench = Bench(old(), stages=[{"percent": 100, "soakS": 600}])
    bench.update("a")
    bench.wait(400)
    bench.come("a")
    assert bench.phase("a") == "confirmed"


# ---- its cost ------------------------------------------------------------------------


def test_an_event_of_one_device_does_not_look_at_the_others():
    looked: list[str] = []
    bench = Bench(*fleet(1000), stages=[{"count": 1}, {"percent": 100}])
    facts = bench.facts

    def look(device: str) -> Facts | None:
        looked.append(device)
        return facts.get(device)

    states = [*bench.run.states()]
    bench.run = Run(bench.run.rollout, states, [RELEASE], look)
    bench.run.resumed(NOW)
    looked.clear()
    for device in facts:
        bench.run.seen(device, NOW + 1)
    assert len(looked) <= len(facts)


# ---- a clock that is set -------------------------------------------------------------

DAY = 86_400
JUMPS = pytest.mark.parametrize("by_s", [-40 * DAY, -3600, -3, 3, 3600, 40 * DAY])


@JUMPS
@pytest.mark.parametrize("device", [new(), old()])
def test_a_clock_that_is_set_fails_nobody(device, by_s):
    bench = Bench(device)
    bench.set_clock(by_s)
    assert bench.phase("a") == "offered"
    bench.wait(50)
    bench.fetch("a", 10)
    bench.set_clock(by_s)
    bench.wait(800)
    bench.fetch("a", 100)
    bench.leave("a")
    bench.set_clock(by_s)
    bench.wait(500)
    bench.come("a", **({} if device.legacy else {"build": 2}))
    assert bench.phase("a") == "rebooted"
    bench.set_clock(by_s)
    bench.wait(290)
    assert bench.phase("a") == "rebooted"
    bench.wait(10)
    assert bench.phase("a") == "confirmed"


@JUMPS
def test_limits_are_as_long_when_the_clock_is_set(by_s):
    bench = Bench(new("a"), new("b"), new("c"))
    bench.wait(1)
    bench.fetch("b", 10)
    bench.fetch("c", 100)
    bench.leave("c")
    bench.set_clock(by_s)
    bench.wait(60)
    assert bench.phases == ["failed: unanswered", "fetching", "fetched"]
    bench.wait(541)
    assert bench.phases[1:] == ["fetching", "failed: not_back"]
    bench.wait(300)
    assert bench.phases[1:] == ["failed: timed_out", "failed: not_back"]


@JUMPS
def test_a_connection_from_before_the_clock_was_set_is_no_new_one(by_s):
    bench = Bench(new())
    bench.set_clock(by_s)
    bench.report("a", "downloading", progress=1)
    bench.see("a", rtt_ms=5.0)
    bench.wait(100)
    assert bench.phase("a") == "fetching"


@JUMPS
def test_offers_go_on_at_their_rate_when_the_clock_is_set(by_s):
    bench = Bench(*fleet(3), ratePerMinute=60)
    bench.set_clock(by_s)
    bench.wait(3)
    assert len(bench.offers) == 3


@JUMPS
def test_a_stage_soaks_as_long_when_the_clock_is_set(by_s):
    bench = Bench(new(), stages=[{"percent": 100, "soakS": 600}])
    bench.update("a")
    bench.wait(300)
    bench.set_clock(by_s)
    bench.wait(590)
    assert bench.status == "running"
    bench.wait(10)
    assert bench.status == "finished"


@JUMPS
def test_who_is_away_is_waited_for_as_long_when_the_clock_is_set(by_s):
    bench = Bench(new(connected_at=None), keepS=3600)
    bench.set_clock(by_s)
    bench.wait(3500)
    assert bench.phase("a") == "pending"
    bench.wait(200)
    assert bench.phase("a") == "skipped: away"


def test_a_window_is_by_what_the_clock_shows_now():
    window = {"from": "02:00", "to": "03:00", "tz": "UTC"}
    bench = Bench(*fleet(2), windows=[window], ratePerMinute=60)
    bench.wait(60)
    assert not bench.offers
    bench.set_clock(-9.5 * 3600)
    bench.wait(1)
    assert len(bench.offers) == 2
