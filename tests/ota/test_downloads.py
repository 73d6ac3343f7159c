"""Tokens of one use, what is told of downloads, and probes."""

from typing import Any

import pytest

from voicestatus.core.errors import StoreError
from voicestatus.ota import downloads as rooms
from voicestatus.ota.downloads import Downloads, Fetched, Probed
from voicestatus.ota.updater import Facts
from voicestatus.store.documents import Put

FACTS = Facts(
    family="esp8266",
    mac="a0:20:a6:12:34:56",
    version="",
    free_bytes=None,
    sketch_bytes=None,
    sketch_md5="",
    sketch_sha256="",
    chip_bytes=None,
    sdk="",
)


@pytest.fixture
def release(depot: Any) -> Any:
    return depot.publish()[0]


@pytest.fixture
def grant(depot: Any, release: Any, now: Any) -> Any:
    def grant(device: str = "lamp", **how: Any) -> str:
        path = now(depot.downloads.grant(device, release, **how))
        start, token = path.rsplit("/", 1)
        assert start == f"/ota/images/{release.id}"
        return token

    return grant


def claim(depot: Any, now: Any, release: str, token: str) -> Any:
    return now(depot.downloads.claim(release, token))


def test_a_token_gives_a_right_to_one_image(
    depot: Any, release: Any, grant: Any, now: Any
):
    token = grant()
    found = claim(depot, now, release.id, token)
    assert (found.device, found.release) == ("lamp", release)
    assert claim(depot, now, "esp32-1-00000000", token) is None


@pytest.mark.parametrize("token", ["", "x", "0" * 43, "0" * 44, "é" * 43, "../" * 14])
def test_a_wrong_token_gives_no_right(
    depot: Any, release: Any, grant: Any, now: Any, token: str
):
    grant()
    assert claim(depot, now, release.id, token) is None


def test_the_store_holds_no_token(depot: Any, grant: Any):
    token = grant()
    assert token not in repr(depot.store._documents)
    (document,) = (d for d in depot.store._documents.values() if d.kind == "download")
    assert document.parent == "lamp"


def test_another_node_knows_the_token(
    depot: Any, make_depot: Any, release: Any, grant: Any, now: Any
):
    token = grant()
    other = make_depot(store=depot.store)
    assert claim(other, now, release.id, token).device == "lamp"


def test_a_token_lives_an_hour(depot: Any, release: Any, grant: Any, now: Any):
    token = grant()
    depot.clock.advance(rooms.GOOD_FOR_S - 1)
    assert claim(depot, now, release.id, token)
    depot.clock.advance(1)
    assert claim(depot, now, release.id, token) is None


def test_what_is_over_is_forgotten(depot: Any, grant: Any, now: Any):
    grant("early")
    depot.clock.advance(rooms.GOOD_FOR_S / 2)
    grant("late")
    for _ in range(4):
        depot.clock.advance(rooms.PRUNE_EVERY_S)
    (document,) = now(depot.store.list("download"))
    assert document.parent == "late"


def test_of_one_device_the_newest_grant_counts(
    depot: Any, release: Any, grant: Any, now: Any
):
    first, other, second = grant(), grant("sign"), grant()
    assert claim(depot, now, release.id, first) is None
    assert claim(depot, now, release.id, second)
    assert claim(depot, now, release.id, other)


def test_what_is_withdrawn_is_good_no_more(
    depot: Any, release: Any, grant: Any, now: Any
):
    token, other = grant(), grant("sign")
    for _ in range(2):
        now(depot.downloads.withdraw("lamp"))
    assert claim(depot, now, release.id, token) is None
    assert claim(depot, now, release.id, other)


def test_what_goes_with_a_grant_is_in_its_batch(depot: Any, grant: Any, now: Any):
    grant(also=(Put("rollout", "1", b"{}"),))
    (document,) = now(depot.store.list("download"))
    assert now(depot.store.get("rollout", "1")).version == document.version


def test_without_a_store_nothing_is_granted_and_nobody_judged(
    depot: Any, release: Any, grant: Any, now: Any
):
    token = grant()
    depot.store.away = True
    with pytest.raises(StoreError):
        grant()
    with pytest.raises(StoreError):
        claim(depot, now, release.id, token)


def test_a_release_that_is_gone_cannot_be_had(
    depot: Any, release: Any, grant: Any, now: Any
):
    token = grant()
    now(depot.catalogue.delete(release.id))
    assert claim(depot, now, release.id, token) is None


def test_what_no_key_of_today_has_signed_cannot_be_had(
    depot: Any, make_depot: Any, release: Any, grant: Any, now: Any
):
    token, other = grant(), make_depot(store=depot.store, keys=())
    assert claim(other, now, release.id, token) is None
    other.downloads.assigned = {"lamp": other.catalogue.get(release.id)}.get
    assert other.downloads.assignment("lamp") is None


# ---- how it goes ---------------------------------------------------------------------


def told(depot: Any) -> list[tuple[int, bool]]:
    return [(each.sent_bytes, each.whole) for each in depot.fetched]


def test_a_whole_image_ends_its_token(depot: Any, release: Any, grant: Any, now: Any):
    token = grant()
    progress = depot.downloads.begin(claim(depot, now, release.id, token), 0)
    depot.clock.advance(5)
    progress.sent(release.size_bytes)
    progress.end(complete=True)
    at = depot.wall()
    assert depot.fetched == [
        Fetched("lamp", release.id, 0, whole=False, at=at - 5),
        Fetched("lamp", release.id, release.size_bytes, whole=True, at=at),
    ]
    depot.clock.advance(rooms.LINGERS_S - 1)
    assert claim(depot, now, release.id, token).rest_alone
    depot.clock.advance(1)
    assert claim(depot, now, release.id, token) is None


def test_a_token_that_is_about_to_end_does_not_live_longer(
    depot: Any, release: Any, grant: Any, now: Any
):
    token = grant()
    depot.clock.advance(rooms.GOOD_FOR_S - 5)
    progress = depot.downloads.begin(claim(depot, now, release.id, token), 0)
    progress.sent(release.size_bytes)
    progress.end(complete=True)
    depot.clock.advance(5)
    assert claim(depot, now, release.id, token) is None


def test_what_was_withdrawn_meanwhile_does_not_come_back(
    depot: Any, release: Any, grant: Any, now: Any
):
    token = grant()
    progress = depot.downloads.begin(claim(depot, now, release.id, token), 0)
    now(depot.downloads.withdraw("lamp"))
    progress.sent(release.size_bytes)
    progress.end(complete=True)
    assert now(depot.store.list("download")) == ()


def test_a_download_that_breaks_off_goes_on_where_it_was(
    depot: Any, release: Any, grant: Any, now: Any
):
    token, size = grant(), release.size_bytes
    for first, last, complete in ((0, 70_000, False), (50_000, size, True)):
        progress = depot.downloads.begin(claim(depot, now, release.id, token), first)
        progress.sent(last - first)
        progress.end(complete=complete)
    assert told(depot) == [(0, False), (70_000, False), (70_000, False), (size, True)]


def test_an_end_without_its_start_is_not_the_whole(
    depot: Any, release: Any, grant: Any, now: Any
):
    token, size = grant(), release.size_bytes
    progress = depot.downloads.begin(claim(depot, now, release.id, token), 100)
    progress.sent(size - 100)
    progress.end(complete=True)
    assert told(depot) == [(0, False), (0, False)]
    assert claim(depot, now, release.id, token)


def test_what_is_assigned_may_be_had_without_a_token(depot: Any, release: Any):
    assert depot.downloads.assignment("lamp") is None
    depot.downloads.assigned = {"lamp": release}.get
    found = depot.downloads.assignment("lamp")
    for _ in range(2):
        progress = depot.downloads.begin(found, 0)
        progress.sent(release.size_bytes)
        progress.end(complete=True)
    whole = (release.size_bytes, True)
    assert told(depot) == [(0, False), whole, (0, False), whole]


def test_who_does_not_listen_any_more_is_told_nothing(depot: Any, release: Any):
    heard: list[Fetched] = []
    leave = depot.downloads.subscribe(heard.append)
    depot.downloads.assigned = {"lamp": release}.get
    leave()
    depot.downloads.begin(depot.downloads.assignment("lamp"), 0)
    assert (heard, len(depot.fetched)) == ([], 1)


def test_a_token_whose_end_cannot_be_stored_is_said_so(
    depot: Any, release: Any, grant: Any, now: Any
):
    token = grant()
    progress = depot.downloads.begin(claim(depot, now, release.id, token), 0)
    progress.sent(release.size_bytes)
    depot.store.away = True
    progress.end(complete=True)
    assert depot.fetched[-1].whole
    depot.clock.advance(rooms.PRUNE_EVERY_S)
    depot.store.away = False


# ---- probes --------------------------------------------------------------------------


@pytest.fixture
def probed(depot: Any) -> list[Probed]:
    heard: list[Probed] = []
    depot.downloads.subscribe_probes(heard.append)
    return heard


def nonce(downloads: Downloads, device: str = "conn-1") -> str:
    path = downloads.expect_probe(device)
    start, nonce = path.rsplit("/", 1)
    assert start == "/ota/images/probe"
    return nonce


def test_a_probe_tells_who_answered_it_once(depot: Any, probed: list[Probed]):
    asked = nonce(depot.downloads)
    assert not depot.downloads.answered("0" * 43, FACTS)
    assert depot.downloads.answered(asked, FACTS)
    assert not depot.downloads.answered(asked, FACTS)
    assert probed == [Probed("conn-1", FACTS)]


def test_a_probe_is_not_waited_for_for_ever(depot: Any, probed: list[Probed]):
    asked = nonce(depot.downloads)
    depot.clock.advance(rooms.PROBE_GOOD_FOR_S)
    assert not depot.downloads.answered(asked, FACTS)
    assert probed == []


def test_of_one_device_the_newest_probe_counts(depot: Any, probed: list[Probed]):
    first, other, second = (nonce(depot.downloads, d) for d in ("a", "b", "a"))
    assert not depot.downloads.answered(first, FACTS)
    assert depot.downloads.answered(other, FACTS)
    assert depot.downloads.answered(second, FACTS)
    assert [each.device for each in probed] == ["b", "a"]
    assert depot.downloads._probes == {}
