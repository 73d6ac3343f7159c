"""Releases come in whole and signed, or not at all."""

import tracemalloc
from base64 import b64encode
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest

from voicestatus.core.chip import Chip
from voicestatus.core.errors import Refusal, StoreError
from voicestatus.core.release import Channel
from voicestatus.ota import catalogue as catalogues
from voicestatus.ota import records
from voicestatus.simulator.images import make_merged
from voicestatus.store.backup import restore_backup, write_backup
from voicestatus.store.documents import FateUnknown, Put


def refused(depot: Any, files: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        depot.publish(files)
    return caught.value


def content(depot: Any, now: Any, sha256: str) -> bytes:
    async def read() -> bytes:
        blob = await depot.store.blob("image", sha256)
        return b"".join([piece async for piece in depot.store.read(blob)])

    return now(read())


def nothing_is_kept(depot: Any) -> bool:
    store = depot.store
    return not (store._blobs or store._contents or store._documents)


# ---- what comes in -------------------------------------------------------------------


@pytest.mark.parametrize("chip", Chip)
def test_a_signed_image_becomes_a_release(
    depot: Any, make_files: Any, now: Any, chip: Chip
):
    files = make_files(chip, 14, board="lamp", min_build=3, floor=2, not_after=9)
    release, is_new = depot.publish(files, channel=Channel.BETA, notes="Softer")
    assert is_new
    assert release.id == f"{chip.title}-14-{release.sha256[:8]}"
    assert (release.chip, release.board, release.version) == (chip, "lamp", "1.14.0")
    assert (release.min_build, release.floor, release.not_after) == (3, 2, 9)
    assert release.size_bytes == len(files.image)
    assert release.manifest == b64encode(files.manifest).decode()
    assert (release.channel, release.legacy) == (Channel.BETA, False)
    assert content(depot, now, release.sha256) == files.image
    assert depot.catalogue.releases() == [release]
    assert depot.changed == [release.id]


def test_the_same_again_is_the_same_release(depot: Any, make_files: Any):
    release, _ = depot.publish(make_files())
    again, is_new = depot.publish(make_files(), channel=Channel.BETA)
    assert (again, is_new) == (release, False)
    assert depot.changed == [release.id]
    assert len(depot.store._contents) == 1


def test_the_same_again_brings_back_an_image_that_was_lost(
    depot: Any, make_files: Any, now: Any
):
    release, _ = depot.publish(make_files())
    now(depot.store.delete_blob("image", release.sha256))
    depot.publish(make_files())
    assert content(depot, now, release.sha256) == make_files().image


def test_a_build_is_one_image_of_one_manifest(depot: Any, make_files: Any):
    release, _ = depot.publish(make_files())
    other_image, other_manifest = make_files(size_bytes=150_000), make_files(floor=1)
    for files in (other_image, other_manifest):
        refusal = refused(depot, files)
        assert refusal.code == "BUILD_EXISTS"
        assert refusal.details == {"release": release.id}
    assert depot.catalogue.releases() == [release]
    assert len(depot.store._contents) == 1


def test_two_boards_may_have_the_same_build(depot: Any, make_files: Any):
    for board in ("lamp", "sign"):
        depot.publish(make_files(board=board))
    assert len(depot.catalogue.releases()) == 2


def test_without_a_key_nothing_is_taken(make_depot: Any):
    refusal = refused(make_depot(keys=()), None)
    assert refusal.code == "NO_SIGNING_KEYS"
    assert "OTA_PUBLIC_KEYS" in refusal.message


def test_a_key_that_is_not_trusted_signs_nothing(
    depot: Any, make_files: Any, other_key: Any
):
    refusal = refused(depot, make_files(key=other_key))
    assert refusal.code == "MANIFEST_REFUSED"
    assert refusal.details == {"key": "manifest", "reason": "MANIFEST_KEY"}
    assert nothing_is_kept(depot)


def test_with_two_keys_both_may_sign(make_depot: Any, make_files: Any, other_key: Any):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    first = Ed25519PrivateKey.from_private_bytes(bytes(32))
    depot = make_depot(keys=(first, other_key))
    depot.publish(make_files(build=1))
    depot.publish(make_files(build=2, key=other_key))
    assert len(depot.catalogue.releases()) == 2


@pytest.mark.parametrize(
    "said",
    [{"size_bytes": 1}, {"sha256": "0" * 64}, {"chip": Chip.ESP32S2}, {"build": 15}],
)
def test_a_manifest_for_another_image_is_refused(
    depot: Any, make_files: Any, said: Any
):
    files = make_files()
    if "size_bytes" in said:
        other = make_files(size_bytes=100_000)
    elif "chip" in said:
        other = make_files(said["chip"])
    elif "build" in said:
        other = make_files(build=15)
    else:
        other = make_files(**said)
    files.manifest = other.manifest
    refusal = refused(depot, files)
    assert refusal.code == "MANIFEST_REFUSED"
    assert refusal.details["reason"] == "MANIFEST_IMAGE"
    assert nothing_is_kept(depot)


def test_an_image_that_is_none_is_refused_at_its_first_bytes(depot: Any, now: Any):
    incoming = depot.catalogue.incoming()
    with pytest.raises(Refusal) as caught:
        now(incoming.append(b"\x1f\x8b\x08" + bytes(1000)))
    assert caught.value.code == "IMAGE_REFUSED"
    assert caught.value.details["key"] == "image"
    now(incoming.abandon())
    assert nothing_is_kept(depot)


def test_an_image_that_breaks_off_is_refused(depot: Any, make_files: Any):
    files = make_files()
    files.image = files.image[:-1000]
    assert refused(depot, files).details["reason"] == "IMAGE_TRUNCATED"
    assert nothing_is_kept(depot)


def test_what_is_past_the_limit_is_refused_before_it_is_there(
    depot: Any, make_files: Any, now: Any
):
    depot.catalogue._limit_bytes = 100_000
    incoming = depot.catalogue.incoming()
    with pytest.raises(Refusal) as caught:
        now(incoming.append(make_files().image[:60_000]))
    assert caught.value.code == "IMAGE_REFUSED"
    now(incoming.abandon())


def test_of_a_large_image_no_more_than_a_piece_is_held(
    depot: Any, make_files: Any, now: Any
):
    files = make_files(size_bytes=4_000_000)

    async def thrown_away(number: int, position: int, data: bytes) -> None: ...

    depot.store.append_upload = thrown_away
    incoming = depot.catalogue.incoming()
    tracemalloc.start()
    for at in range(0, len(files.image), 65_536):
        now(incoming.append(files.image[at : at + 65_536]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


# ---- keys that are taken away --------------------------------------------------------


def test_what_no_key_of_today_has_signed_is_not_trusted(
    depot: Any, make_depot: Any, other_key: Any
):
    release, _ = depot.publish()
    assert release.trusted
    for keys in ((), (other_key,)):
        (found,) = make_depot(store=depot.store, keys=keys).catalogue.releases()
        assert found == replace(release, trusted=False)
    assert make_depot(store=depot.store).catalogue.releases() == [release]


def test_what_is_stored_otherwise_than_it_was_signed_is_not_trusted(
    depot: Any, make_depot: Any, now: Any
):
    release, _ = depot.publish()
    now(depot.store.write(records.putting(replace(release, build=99))))
    (found,) = make_depot(store=depot.store).catalogue.releases()
    assert not found.trusted


def test_signed_anew_it_is_trusted_again(
    depot: Any, make_depot: Any, make_files: Any, other_key: Any
):
    release, _ = depot.publish()
    other = make_depot(store=depot.store, keys=(other_key,))
    anew, is_new = other.publish(make_files(key=other_key), notes="Signed anew")
    assert is_new
    assert (anew.id, anew.trusted, anew.notes) == (release.id, True, "Signed anew")
    assert other.catalogue.releases() == [anew]


# ---- what a blank chip needs ---------------------------------------------------------


def with_flash(files: Any, chip: Chip = Chip.ESP32) -> Any:
    return replace(files, flash=make_merged(chip, files.image))


def test_what_starts_it_on_a_blank_chip_is_stored_in_parts(
    depot: Any, make_depot: Any, make_files: Any, now: Any
):
    files = with_flash(make_files())
    release, _ = depot.publish(files)
    assert [part.offset for part in release.flash] == [0x1000, 0x8000, 0xE000, 0x10000]
    for part in release.flash:
        stored = content(depot, now, part.sha256)
        flash = files.flash[part.offset : part.offset + part.size_bytes]
        assert (stored, len(stored)) == (flash, part.size_bytes)
    # After a restart, and on another node.
    assert make_depot(store=depot.store).catalogue.releases() == [release]


def test_a_boot_loader_in_common_stays_until_nothing_needs_it(
    depot: Any, make_depot: Any, make_files: Any, now: Any
):
    other = make_depot(store=depot.store)
    first, _ = depot.publish(with_flash(make_files(build=1)))
    second, _ = other.publish(with_flash(make_files(build=2)))
    assert depot.catalogue.get(second.id) is None  # not told of it yet
    now(depot.catalogue.delete(first.id))
    stored = {blob.id for blob in now(depot.store.blobs("image"))}
    assert stored == {part.sha256 for part in second.flash}
    other.clock.advance(catalogues.ORPHANED_AFTER_S)
    assert {blob.id for blob in now(depot.store.blobs("image"))} == stored
    now(other.catalogue.delete(second.id))
    assert nothing_is_kept(depot)


def test_what_is_given_again_takes_the_place_of_what_was(
    depot: Any, make_depot: Any, make_files: Any, other_key: Any, now: Any
):
    files = make_files()
    release, _ = depot.publish(files, notes="x")
    once = with_flash(files)
    flashed, is_new = depot.publish(once)
    assert (flashed, is_new) == (replace(release, flash=flashed.flash), False)
    blank = once.flash[:0xE000] + b"\xff" * 0x2000 + once.flash[0x10000:]
    again, _ = depot.publish(replace(files, flash=blank))
    assert again.flash[2] != flashed.flash[2]
    assert depot.publish(files) == (again, False)
    stored = {blob.id for blob in now(depot.store.blobs("image"))}
    assert stored == {part.sha256 for part in again.flash}
    # Signed anew it is the same program, which starts as it did.
    anew, _ = make_depot(store=depot.store, keys=(other_key,)).publish(
        make_files(key=other_key)
    )
    assert anew.flash == again.flash


def test_a_backup_has_it(depot: Any, make_depot: Any, make_files: Any, now: Any):
    release, _ = depot.publish(with_flash(make_files()))
    now(write_backup(depot.store, copy := BytesIO(), lambda _: None))
    restored = make_depot()
    copy.seek(0)
    now(restore_backup(restored.store, copy, lambda _: None))
    (found,) = make_depot(store=restored.store).catalogue.releases()
    assert found == release
    for part in release.flash:
        there = content(depot, now, part.sha256)
        assert content(restored, now, part.sha256) == there


# ---- what is changed -----------------------------------------------------------------


def test_what_an_admin_says_can_be_changed(depot: Any, make_depot: Any, now: Any):
    release, _ = depot.publish()
    changed = now(depot.catalogue.change(release.id, legacy=True))
    assert (changed.legacy, changed.channel) == (True, Channel.STABLE)
    changed = now(depot.catalogue.change(release.id, channel=Channel.BETA, notes="x"))
    assert (changed.legacy, changed.channel, changed.notes) == (True, Channel.BETA, "x")
    assert depot.changed == [release.id] * 3
    assert make_depot(store=depot.store).catalogue.releases() == [changed]


def test_what_is_not_there_cannot_be_changed_or_deleted(depot: Any, now: Any):
    for work in (depot.catalogue.change("none"), depot.catalogue.delete("none")):
        with pytest.raises(Refusal, match="no release"):
            now(work)


def test_a_release_that_is_needed_stays(depot: Any, now: Any):
    release, _ = depot.publish()
    depot.catalogue.needed = {release.id}.__contains__
    with pytest.raises(Refusal) as caught:
        now(depot.catalogue.delete(release.id))
    assert caught.value.code == "RELEASE_IN_USE"
    depot.catalogue.needed = lambda _: False
    now(depot.catalogue.delete(release.id))
    assert depot.catalogue.releases() == []
    assert nothing_is_kept(depot)


def test_what_is_written_down_is_in_the_same_batch(
    depot: Any, make_files: Any, now: Any
):
    note = Put("audit", "1", b"{}")
    release, _ = depot.publish()
    now(depot.catalogue.change(release.id, legacy=True, also=(note,)))
    stored = now(depot.store.get("release", release.id))
    assert now(depot.store.get("audit", "1")).version == stored.version


# ---- the store -----------------------------------------------------------------------


def test_after_a_restart_all_is_there(depot: Any, make_depot: Any, make_files: Any):
    for build in (3, 1, 2):
        depot.publish(make_files(build=build))
    assert [r.build for r in depot.catalogue.releases()] == [1, 2, 3]
    again = make_depot(store=depot.store)
    assert again.catalogue.releases() == depot.catalogue.releases()


@pytest.mark.parametrize("body", [b"nonsense", b"{}", b'{"id":"x"}'])
def test_what_cannot_be_read_is_left_as_it_is(
    depot: Any, make_depot: Any, body: bytes, now: Any
):
    release, _ = depot.publish()
    now(depot.store.put("release", "x", body))
    again = make_depot(store=depot.store)
    assert again.catalogue.releases() == [release]
    again.clock.advance(catalogues.ORPHANED_AFTER_S)
    assert now(depot.store.get("release", "x")).body == body


def test_a_store_that_is_away_is_asked_again(depot: Any, make_depot: Any):
    release, _ = depot.publish()
    depot.store.away = True
    again = make_depot(store=depot.store)
    assert again.catalogue.releases() == []
    with pytest.raises(StoreError):
        again.publish()
    depot.store.away = False
    again.clock.advance(catalogues.FIRST_PAUSE_S)
    assert again.catalogue.releases() == [release]


def test_an_image_without_a_release_is_forgotten_after_a_while(
    depot: Any, make_depot: Any, make_files: Any, now: Any
):
    """The process died after the image was stored, and before the release was."""
    release, _ = depot.publish()
    lost, _ = depot.publish(make_files(build=15))
    now(depot.store.delete("release", lost.id))
    again = make_depot(store=depot.store)
    assert len(now(depot.store.blobs("image"))) == 2
    again.clock.advance(catalogues.ORPHANED_AFTER_S)
    assert [blob.id for blob in now(depot.store.blobs("image"))] == [release.sha256]


def test_an_image_whose_release_may_yet_come_is_kept(
    depot: Any, make_depot: Any, make_files: Any, now: Any
):
    """Another node has stored the image, and is about to store the release."""
    other = make_depot(store=depot.store)
    other.clock.advance(catalogues.ORPHANED_AFTER_S - 1)
    release, _ = depot.publish()
    now(depot.store.delete("release", release.id))
    other.clock.advance(1)
    assert content(depot, now, release.sha256) == make_files().image


def test_an_answer_that_was_lost_is_no_conflict(depot: Any, make_files: Any):
    write = depot.store.write

    async def lost(*changes: Any, **how: Any) -> int:
        await write(*changes, **how)
        raise FateUnknown

    depot.store.write = lost
    with pytest.raises(FateUnknown):
        depot.publish(make_files())
    assert depot.catalogue.releases() == []
    depot.store.write = write
    release, is_new = depot.publish(make_files())
    assert (depot.catalogue.releases(), is_new) == ([release], False)


def test_what_another_node_has_is_not_added_anew(depot: Any, make_depot: Any):
    other = make_depot(store=depot.store)
    release, _ = depot.publish()
    assert other.publish() == (release, False)


def test_what_another_node_stored_is_taken_over(
    depot: Any, make_depot: Any, make_files: Any, now: Any
):
    other = make_depot(store=depot.store)
    release, _ = depot.publish()
    assert other.catalogue.get(release.id) is None
    now(other.catalogue.reread(release.id))
    assert other.catalogue.get(release.id) == release
    now(depot.catalogue.delete(release.id))
    now(other.catalogue.reread(release.id))
    assert other.catalogue.get(release.id) is None
    assert other.changed == [release.id] * 2
