"""An image is read once for all that download it."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from voicestatus.core.errors import StoreError
from voicestatus.ota.images import Images
from voicestatus.store.blobs import CHUNK_BYTES

MUCH = 10**9


@pytest.fixture
def blob(depot: Any, now: Any) -> Any:
    release, _ = depot.publish()
    return now(depot.images.find(release.sha256))


def fetch(images: Images, blob: Any, position: int) -> list[Any]:
    told: list[Any] = []
    images.fetch(blob, position, MUCH).addBoth(told.append)
    return told


def test_a_piece_is_read_once(depot: Any, blob: Any, make_files: Any):
    image, images = make_files().image, depot.images
    assert images.kept(blob, 0, MUCH) is None
    assert fetch(images, blob, 0) == [image[:CHUNK_BYTES]]
    assert images.kept(blob, 100, 16) == image[100:116]
    assert (
        images.kept(blob, CHUNK_BYTES - 4, 16) == image[CHUNK_BYTES - 4 : CHUNK_BYTES]
    )
    assert images.kept(blob, CHUNK_BYTES, 16) is None
    assert depot.store.reads == 1


def test_two_hundred_that_wait_for_a_piece_cause_one_read(
    depot: Any, blob: Any, make_files: Any
):
    expected = [make_files().image[:CHUNK_BYTES]]
    gate = depot.store.gate = Deferred()
    told = [fetch(depot.images, blob, 0) for _ in range(200)]
    quitter = depot.images.fetch(blob, 0, MUCH)
    quitter.addErrback(lambda _: None).cancel()
    gate.callback(None)
    assert depot.store.reads == 1
    assert all(each == expected for each in told)


def test_it_keeps_so_much_and_no_more(depot: Any, blob: Any):
    images = Images(depot.store, kept_bytes=2 * CHUNK_BYTES)
    for n in (0, 1, 0, 2):
        fetch(images, blob, n * CHUNK_BYTES) if images.kept(
            blob, n * CHUNK_BYTES, 1
        ) is None else None
    kept = [images.kept(blob, n * CHUNK_BYTES, 1) is not None for n in range(3)]
    assert kept == [True, False, True]


def test_a_defect_of_ours_is_told_to_all(depot: Any, blob: Any):
    depot.store.gate = gate = Deferred()
    told = [fetch(depot.images, blob, 0) for _ in range(2)]
    gate.errback(ZeroDivisionError())
    assert [each[0].type for each in told] == [ZeroDivisionError] * 2


def test_what_cannot_be_read_is_told_to_all_and_asked_again(depot: Any, blob: Any):
    depot.store.gate = gate = Deferred()
    told = [fetch(depot.images, blob, 0) for _ in range(2)]
    depot.store.away = True
    gate.callback(None)
    assert [each[0].type for each in told] == [StoreError] * 2
    depot.store.away, depot.store.gate = False, None
    assert len(fetch(depot.images, blob, 0)[0]) == CHUNK_BYTES
