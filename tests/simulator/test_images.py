"""Images for demos and tests, of any size and for each chip."""

import pytest

from voicestatus.core.chip import Chip
from voicestatus.simulator.images import make_image


@pytest.mark.parametrize("chip", Chip)
@pytest.mark.parametrize("size", [8192, 8208, 100_000])
def test_an_image_has_the_size_that_was_asked_for(chip: Chip, size: int):
    assert len(make_image(chip, size)) == size


def test_an_image_is_the_same_each_time_and_another_for_each_version():
    one = make_image(Chip.ESP32, 4096, version="1.0.0")
    assert make_image(Chip.ESP32, 4096, version="1.0.0") == one
    assert make_image(Chip.ESP32, 4096, version="1.0.1") != one


def test_no_two_parts_of_an_image_are_alike():
    image = make_image(Chip.ESP32, 65_536)
    parts = {image[at : at + 16] for at in range(0x200, len(image) - 64, 16)}
    assert len(parts) == len(range(0x200, len(image) - 64, 16))


@pytest.mark.parametrize("size", [0, 64, 8190])
def test_a_size_that_no_image_can_have_is_refused(size: int):
    with pytest.raises(ValueError, match="no image"):
        make_image(Chip.ESP32, size)
