"""`voicestatus rollout`, as its user types it."""

import io
import json
from typing import Any

import click
import pytest
from rich.console import Console

from voicestatus.cli import given
from voicestatus.cli.client import Unreachable
from voicestatus.cli.rollout_watch import Watch, watched

PATH = "/api/v1/firmware/rollouts"
ONE = f"{PATH}/r-1"
FAILED = {
    "device": "attic",
    "phase": "failed",
    "since": "2026-11-21T11:00:00Z",
    "release": "esp32-14-0f0f0f0f",
    "stage": 0,
    "progress": 100,
    "tries": 1,
    "why": "not_back",
    "reason": "did not come back",
    "before": "1.3.2",
    "forgiven": False,
}


@pytest.fixture
def halted(make_rollout: Any) -> Any:
    return make_rollout(
        "r-1",
        status="halted",
        why="stage",
        reason="too bad",
        failures=["attic"],
        failed=[FAILED],
        failedBy={"not_back": 1},
        skippedBy={"current": 3},
        counts={"failed": 1, "pending": 11, "skipped": 3},
        stages=[
            {"size": 1, "touched": 1, "confirmed": 0, "failed": 1},
            {"size": 12, "touched": 0, "confirmed": 0, "failed": 0},
        ],
    )


def plan_of(cli: Any, api: Any, make_rollout: Any, *options: str) -> Any:
    api.answer("POST", PATH, 201, make_rollout("r-1"))
    cli.done("rollout", "start", *options)
    return api.asked[-1][2]


def test_options_become_a_plan(cli: Any, api: Any, make_rollout: Any):
    options = (
        *("R1", "R2", "--name", "autumn", "--target", "tag=office,chip=esp32"),
        *("--target", "tag=hall", "--stages", "1, 10%,100%", "--soak", "10m"),
        *("--halt-at", "5,20%", "--rate", "30", "--not-while-lit", "--probe"),
        *("--window", "fri-mon,wed 02:00-05:00 Europe/Berlin"),
    )
    assert plan_of(cli, api, make_rollout, *options) == {
        "releases": ["R1", "R2"],
        "name": "autumn",
        "target": {"tags": ["office", "hall"], "chips": ["esp32"]},
        "stages": [
            {"count": 1, "soakS": 600},
            {"percent": 10, "soakS": 600},
            {"percent": 100, "soakS": 600},
        ],
        "haltAt": {"count": 5, "percent": 20},
        "ratePerMinute": 30,
        "notWhileLit": True,
        "probe": True,
        "windows": [
            {
                "days": ["fri", "sat", "sun", "mon", "wed"],
                "from": "02:00",
                "to": "05:00",
                "tz": "Europe/Berlin",
            }
        ],
    }


def test_what_is_not_said_is_the_servers_business(
    cli: Any, api: Any, make_rollout: Any
):
    assert plan_of(cli, api, make_rollout, "R1") == {"releases": ["R1"]}


def test_an_option_goes_before_the_plan(cli: Any, api: Any, make_rollout: Any):
    plan = '{"releases": ["R0"], "gate": {"stayS": 9}, "name": "x"}'
    said = plan_of(cli, api, make_rollout, "--plan", plan, "--name", "y")
    assert said == {"releases": ["R0"], "gate": {"stayS": 9}, "name": "y"}


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("R", "--stages", "1,x"),
        ("R", "--stages", ""),
        ("R", "--soak", "soon"),
        ("R", "--target", "color=red"),
        ("R", "--target", "tag="),
        ("R", "--target", "build=new"),
        ("R", "--halt-at", "many"),
        ("R", "--window", "02:00-05:00"),
        ("R", "--window", "someday 02:00-05:00 UTC"),
        ("R", "--rate", "0"),
        ("R", "--plan", "nowhere.json"),
    ],
)
def test_what_cannot_be_meant_is_wrong_use(cli: Any, api: Any, options: Any):
    result = cli("rollout", "start", *options)
    assert result.exit_code == 2, result.output
    assert not api.asked


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("10m", 600), ("2 h", 7200), ("1d", 86_400)],
)
def test_times_are_read_with_their_units(text: str, seconds: int):
    assert given.seconds(text) == seconds


def test_days_may_be_left_out_of_a_window():
    window = {"from": "22:00", "to": "05:00", "tz": "UTC"}
    assert given.window("22:00-05:00 UTC") == window


def test_a_dry_run_says_who_comes_when_and_who_not_and_why(cli: Any, api: Any):
    def turn(device: str, stage: int | None, why: str = "") -> Any:
        return {"device": device, "release": "R", "stage": stage, "why": why}

    found = {
        "stages": [{"size": 1, "adds": 1}, {"size": 3, "adds": 2}],
        "beyond": 4,
        "skippedBy": {"current": 1, "wrong_chip": 30},
        "devices": [
            turn("a", 0),
            turn("b", 1),
            turn("c", 1),
            turn("d", None, "current"),
        ],
        "next": None,
    }
    api.answer("POST", f"{PATH}/dry-run", 200, found)
    told = cli.done("rollout", "start", "R", "--dry-run").splitlines()
    assert [line.rstrip() for line in told] == [
        "stage 1  1: a",
        "stage 2  2: b, c",
        "beyond   4 that no stage reaches",
        "skipped  1 runs it already: d",
        "skipped  30 another chip",
    ]
    assert [path for _, path, _ in api.asked] == [f"{PATH}/dry-run?limit=1000"]


def test_a_dry_run_as_json_has_all_pages(cli: Any, api: Any):
    page = {"stages": [], "beyond": 0, "skippedBy": {}, "next": "a/b"}
    path = f"{PATH}/dry-run"
    api.answer("POST", path, 200, page | {"devices": [1]})
    api.answer("POST", path, 200, page | {"devices": [2], "next": None})
    found = json.loads(cli.done("rollout", "start", "R", "--dry-run", "--json"))
    assert (found["devices"], found["next"]) == ([1, 2], None)
    assert api.asked[-1][1] == f"{path}?limit=1000&after=a%2Fb"


def test_the_list_and_what_is_known_of_one(cli: Any, api: Any, halted: Any):
    api.answer("GET", PATH, 200, {"rollouts": [halted], "next": None})
    api.answer("GET", ONE, 200, halted)
    head, line = cli.done("rollout", "status").splitlines()
    assert head.split()[0] == "id"
    for shown in ("r-1", "halted", "1 of 2", "11"):
        assert shown in line
    told = cli.done("rollout", "status", "r-1")
    for shown in (
        "status    halted in stage 1 of 2: too bad",
        "signs     1 failed, 11 waiting, 3 skipped",
        "skipped   3 runs it already",
        "stage 1  0 of 1 confirmed, 1 failed",
        "attic   esp32-14-0f0f0f0f  1.3.2       did not come back",
    ):
        assert shown in told


def test_of_many_failures_a_few_are_named_and_it_says_where_the_others_are(
    cli: Any, api: Any, halted: Any
):
    many = [FAILED | {"device": f"sign-{n}"} for n in range(100)]
    report = halted | {"failed": many, "failedBy": {"not_back": 70, "slow": 60}}
    api.answer("GET", ONE, 200, report)
    told = cli.done("rollout", "status", "r-1")
    assert "sign-19" in told
    assert "sign-20" not in told
    assert "110 more: voicestatus rollout devices r-1 --phase failed" in told


def test_devices_are_listed_page_by_page(cli: Any, api: Any):
    path = f"{ONE}/devices"
    api.answer("GET", path, 200, {"devices": [FAILED], "next": "attic"})
    fetching = FAILED | {"device": "hall", "phase": "fetching", "progress": 7}
    api.answer("GET", path, 200, {"devices": [fetching], "next": None})
    told = cli.done("rollout", "devices", "r-1", "--phase", "failed")
    assert "fetching 7 %" in told
    assert "phase=failed" in api.asked[0][1]


@pytest.mark.parametrize(
    ("what", "more", "said"),
    [
        ("pause", (), "r-1 is paused"),
        ("resume", (), "r-1 goes on"),
        ("abort", (), "r-1 is aborted"),
        ("retry", ("attic",), "r-1 tries attic again"),
    ],
)
def test_it_does_as_it_is_told(
    cli: Any, api: Any, make_rollout: Any, what: str, more: Any, said: str
):
    api.answer("POST", f"{ONE}/{what}", 200, make_rollout("r-1"))
    assert cli.done("rollout", what, "r-1", *more) == f"{said}\n"
    body = {"devices": [*more]} if more else None
    assert api.asked == [("POST", f"{ONE}/{what}", body)]


def test_a_rollback_says_for_whom_it_can_do_nothing(cli: Any, api: Any):
    undone = {
        "rollouts": ["r-2"],
        "counts": {"offered": 3, "impossible": 1},
        "devices": [
            {
                "device": "hall",
                "can": "impossible",
                "release": "",
                "why": "takes_no_lower_build",
                "reason": "takes no lower build",
            }
        ],
    }
    api.answer("POST", f"{ONE}/rollback", 200, undone)
    told = cli.done("rollout", "rollback", "r-1")
    for shown in ("3 old signs", "r-2", "hall: takes no lower build"):
        assert shown in told


def test_a_refusal_says_what_helps(cli: Any, api: Any):
    api.refuse("POST", f"{ONE}/pause", 404, "ROLLOUT_NOT_FOUND", "there is none")
    result = cli("rollout", "pause", "r-1")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: there is none. `voicestatus rollout status` lists all.\n"
    )


def test_the_server_may_be_named_anywhere(cli: Any, api: Any, make_rollout: Any):
    api.answer("POST", f"{ONE}/pause", 200, make_rollout("r-1"))
    for words in (
        ("rollout", "--server", api.url, "pause", "r-1"),
        ("rollout", "pause", "r-1", "--server", api.url),
    ):
        result = cli(*words, env={"ADMIN_TOKEN": "the-admin-token"})
        assert result.exit_code == 0, result.output


# -- watching --------------------------------------------------------------------------


def test_a_watched_one_that_halts_fails(cli: Any, api: Any, halted: Any):
    api.answer("GET", ONE, 200, halted)
    result = cli("rollout", "status", "r-1", "--watch")
    assert result.exit_code == 1
    failure, status = result.stdout.splitlines()
    assert failure.endswith("attic failed: did not come back")
    assert status.endswith("too bad (1 failed, 11 waiting, 3 skipped)")


def test_a_watched_one_that_finishes_is_done(cli: Any, api: Any, make_rollout: Any):
    over = make_rollout("r-1", status="finished", endedAt="2026-11-21T12:00:00Z")
    api.answer("POST", PATH, 201, make_rollout("r-1"))
    api.answer("GET", ONE, 200, over)
    result = cli("rollout", "start", "R", "--watch", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == over
    assert "finished" in result.stderr


def test_without_an_id_the_only_one_is_watched(cli: Any, api: Any, halted: Any):
    ended = halted | {"id": "r-0", "endedAt": "2026-11-21T12:00:00Z"}
    api.answer("GET", PATH, 200, {"rollouts": [halted, ended], "next": None})
    api.answer("GET", PATH, 200, {"rollouts": [ended], "next": None})
    api.answer("GET", PATH, 200, {"rollouts": [halted, halted], "next": None})
    api.answer("GET", ONE, 200, halted)
    assert "halted" in cli("rollout", "status", "--watch").stdout
    for why in ("no rollout is under way", "2 rollouts have not ended: r-1, r-1"):
        result = cli("rollout", "status", "--watch")
        assert result.exit_code == 2
        assert why in result.stderr


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


class World:
    """What a watch sees, one thing at a look; a second goes by between two."""

    def __init__(self, *sights: Any, terminal: bool = False) -> None:
        self.sights, self.now, self.screen = list(sights), 0.0, Screen()
        console = Console(
            file=self.screen, width=100, force_terminal=terminal, color_system=None
        )
        self.watch = Watch(self.look, console, self.sleep, lambda: self.now)

    def look(self) -> Any:
        sight = self.sights.pop(0) if len(self.sights) > 1 else self.sights[0]
        if isinstance(sight, BaseException):
            raise sight
        return sight

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    @property
    def lines(self) -> list[str]:
        return [line[9:] for line in self.screen.getvalue().splitlines()]


def test_a_log_hears_what_is_new_and_of_numbers_now_and_then(
    make_rollout: Any, halted: Any
):
    steps = [
        make_rollout("r-1", counts={"offered": 1, "pending": n}) for n in range(30)
    ]
    world = World(*steps, halted)
    assert world.watch.to_the_end() == halted
    assert len(world.lines) == 5
    assert world.lines[0] == "running, stage 1 of 2 (1 under way)"
    assert world.lines[1] == "running, stage 1 of 2 (1 under way, 10 waiting)"
    assert world.lines[3] == "attic failed: did not come back"


def test_a_server_that_starts_anew_is_waited_for(make_rollout: Any):
    over = make_rollout("r-1", status="finished")
    for terminal in (False, True):
        away = [Unreachable("it is away")] * 3
        world = World(make_rollout("r-1"), *away, over, terminal=terminal)
        assert world.watch.to_the_end() == over
        if not terminal:
            assert world.lines[1:-1] == ["it is away"]


def test_one_that_stays_away_is_given_up(make_rollout: Any):
    world = World(make_rollout("r-1"), Unreachable("it does not answer"))
    with pytest.raises(Unreachable, match="does not answer"):
        world.watch.to_the_end()
    assert 600 < world.now < 700


def test_a_refusal_ends_it_at_once(make_rollout: Any):
    world = World(make_rollout("r-1"), click.ClickException("no such"))
    with pytest.raises(click.ClickException, match="no such"):
        world.watch.to_the_end()
    assert world.now == 1


def test_a_terminal_shows_bars_and_that_the_server_is_away(
    make_rollout: Any, halted: Any
):
    world = World(make_rollout("r-1"), Unreachable("it is away"), halted, terminal=True)
    world.watch.to_the_end()
    shown = world.screen.getvalue()
    assert shown.index("running, stage 1 of 2") < shown.index("it is away")
    assert shown.index("it is away") < shown.index("halted in stage 1 of 2")
    assert "━" in shown


def test_an_interrupt_leaves_the_rollout_alone_and_says_so(
    make_rollout: Any, capsys: pytest.CaptureFixture[str]
):
    world = World(make_rollout("r-1"), KeyboardInterrupt())
    assert watched(world.watch, "r-1") is None
    assert "Rollout r-1 goes on" in capsys.readouterr().err
