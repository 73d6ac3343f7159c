"""Old devices that are asked what they are."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from voicestatus.core.errors import Refusal
from voicestatus.core.fleet import Sketch
from voicestatus.ota.downloads import Probed
from voicestatus.ota.probe import ANSWER_WITHIN_S, Probes
from voicestatus.ota.updater import Facts

FACTS = Facts(
    family="esp8266",
    mac="24:6f:28:a1:b2:c3",
    version="v1.2.3",
    free_bytes=600_000,
    sketch_bytes=400_000,
    sketch_md5="ab" * 16,
    sketch_sha256="",
    chip_bytes=4_194_304,
    sdk="2.2.2",
)


class Field:
    """Devices, and where they answer."""

    def __init__(self):
        self.sent, self.recognised, self.listeners = [], [], []
        self.refusal = None

    def probe(self, id_, path):
        if self.refusal is not None:
            raise self.refusal
        self.sent.append((id_, path))

    def recognise(self, name, id_, **said):
        self.recognised.append((name, id_, said))
        return id_

    def expect_probe(self, device):
        return f"/ota/images/probe/of-{device}"

    def subscribe_probes(self, tell):
        self.listeners.append(tell)
        return lambda: self.listeners.remove(tell)

    def answer(self, device):
        for tell in tuple(self.listeners):
            tell(Probed(device, FACTS))


@pytest.fixture
def field():
    return Field()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def probe(field, clock):
    """Probe a device; what comes of it is in the list that is returned."""
    probes = Probes(field, field, clock, lambda: 1_800_000_000.0)

    def start(device):
        outcome = []
        Deferred.fromCoroutine(probes.probe(device)).addBoth(outcome.append)
        return outcome

    return start


def code(outcome):
    (failure,) = outcome
    failure.trap(Refusal)
    return failure.value.code


def test_a_device_that_answers_is_recognised_by_its_mac(probe, field, clock):
    outcome = probe("conn-7")
    assert field.sent == [("conn-7", "/ota/images/probe/of-conn-7")]
    assert outcome == []
    field.answer("another")
    field.answer("conn-7")
    assert outcome == [FACTS]
    sketch = Sketch(
        asked_at=1_800_000_000.0,
        md5="ab" * 16,
        size_bytes=400_000,
        free_bytes=600_000,
    )
    said = {"chip": "esp8266", "fw": "v1.2.3", "sketch": sketch}
    assert field.recognised == [("conn-7", "246f28a1b2c3", said)]
    assert (field.listeners, clock.getDelayedCalls()) == ([], [])


def test_one_is_dark_at_a_time(probe, field):
    first, second = probe("a"), probe("b")
    assert [id_ for id_, _ in field.sent] == ["a"]
    field.answer("a")
    assert first == [FACTS]
    assert [id_ for id_, _ in field.sent] == ["a", "b"]
    field.answer("b")
    assert second == [FACTS]


def test_who_does_not_answer_is_named_and_the_next_one_has_its_turn(
    probe, field, clock
):
    first, second = probe("a"), probe("b")
    clock.advance(ANSWER_WITHIN_S)
    assert code(first) == "PROBE_UNANSWERED"
    field.answer("b")
    assert second == [FACTS]
    assert (field.listeners, clock.getDelayedCalls()) == ([], [])


def test_who_cannot_be_asked_is_refused_at_once(probe, field, clock):
    field.refusal = Refusal("DEVICE_OFFLINE", "it is away")
    assert code(probe("a")) == "DEVICE_OFFLINE"
    field.refusal = None
    second = probe("b")
    field.answer("b")
    assert second == [FACTS]
    assert (field.listeners, clock.getDelayedCalls()) == ([], [])
