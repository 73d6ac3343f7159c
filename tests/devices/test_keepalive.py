from dataclasses import dataclass

from voicestatus.devices.keepalive import SLICE, Deadlines, PingWheel, Seldom


@dataclass(eq=False)
class Device:
    slot: int = 0
    missed: int = 0


def test_each_is_pinged_once_in_a_round_and_never_all_at_once():
    wheel = PingWheel[Device](slots=30)
    fleet = {Device() for _ in range(300)}
    for device in fleet:
        wheel.add(device)
    turns = [wheel.turn(0.0)[0] for _ in range(30)]
    assert [len(pinged) for pinged in turns] == [10] * 30
    assert {device for pinged in turns for device in pinged} == fleet


def test_who_leaves_two_pings_unanswered_is_dead():
    wheel = PingWheel[Device](slots=1)
    device = Device()
    wheel.add(device)
    assert wheel.turn(0.0) == ([device], [])
    assert wheel.turn(0.0) == ([device], [])
    assert wheel.turn(0.0) == ([], [device])


def test_a_sign_of_life_between_two_pings_is_enough():
    wheel = PingWheel[Device](slots=1)
    device = Device()
    wheel.add(device)
    for _ in range(5):
        wheel.turn(0.0)
        assert wheel.turn(0.0) == ([device], [])
        device.missed = 0


def test_who_has_left_is_not_pinged():
    wheel = PingWheel[Device](slots=3)
    device = Device()
    wheel.add(device)
    wheel.remove(device)
    wheel.remove(device)
    assert [wheel.turn(0.0) for _ in range(3)] == [([], [])] * 3
    assert (len(wheel), list(wheel)) == (0, [])


def test_deadlines_end_in_the_order_of_arrival():
    deadlines = Deadlines[str](5)
    deadlines.add("a", 0)
    deadlines.add("b", 1)
    deadlines.add("c", 1)
    deadlines.discard("c")
    assert deadlines.due(4.9) == []
    assert deadlines.due(5) == ["a"]
    assert deadlines.due(9) == ["b"]
    assert len(deadlines) == 0


def test_a_deadline_that_is_set_again_counts_from_then():
    deadlines = Deadlines[str](5)
    deadlines.add("a", 0)
    deadlines.add("b", 1)
    deadlines.add("a", 2)
    assert deadlines.due(6) == ["b"]
    assert list(deadlines) == ["a"]


def test_of_many_alike_the_first_is_said_then_one_line_a_minute():
    seldom = Seldom(every_s=60)
    assert [seldom.happened(t) for t in (0, 1, 2, 59.9, 60, 61)] == [1, 0, 0, 0, 4, 0]


def test_thousands_whose_time_is_over_come_in_slices():
    deadlines = Deadlines[int](5)
    for key in range(2 * SLICE + 1):
        deadlines.add(key, 0)
    taken = [deadlines.due(5) for _ in range(4)]
    assert [len(over) for over in taken] == [SLICE, SLICE, 1, 0]
    assert [key for over in taken for key in over] == list(range(2 * SLICE + 1))
