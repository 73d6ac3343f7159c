"""`voicestatus publish`, as its user types it."""

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from voicestatus.cli.client import Server
from voicestatus.cli.form import Form

PATH = "/api/v1/firmware/releases"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    file = tmp_path / "light.bin"
    file.write_bytes(b"\xe9" * 200_000)
    (tmp_path / "light.bin.manifest").write_bytes(b"M" * 192)
    return file


def test_image_and_manifest_are_sent_and_the_release_is_named(
    cli: Any, api: Any, image: Path, make_release: Any
):
    api.answer("POST", PATH, 201, make_release("esp32-14-0f0f0f0f"))
    told = cli.done("publish", str(image), "--channel", "beta", "--notes", "Sänfter")
    assert told == ("esp32-14-0f0f0f0f: esp32 1.4.0 (build 14) is published: stable\n")
    ((_, _, body),) = api.asked
    assert b"\xe9" * 200_000 in body
    assert body.index(b"M" * 192) < body.index(b"\xe9")
    for name, value in {
        "channel": "beta",
        "legacy": "false",
        "notes": "Sänfter",
    }.items():
        assert f'name="{name}"\r\n\r\n{value}\r\n'.encode() in body


def test_one_that_is_there_already_is_no_error(
    cli: Any, api: Any, image: Path, make_release: Any
):
    api.answer("POST", PATH, 200, make_release("x"))
    assert "was published before" in cli.done("publish", str(image))
    result = cli("publish", str(image), "--channel", "beta")
    assert result.exit_code == 0
    assert "It is as it was" in result.stderr


def test_what_starts_it_on_a_blank_chip_is_sent_behind_it(
    cli: Any, api: Any, image: Path, make_release: Any
):
    api.answer("POST", PATH, 201, make_release("x"))
    merged = image.with_name("merged.bin")
    merged.write_bytes(b"\xff" * 4096 + image.read_bytes())
    cli.done("publish", str(image), "--flash", str(merged))
    ((_, _, body),) = api.asked
    _, _, behind = body.partition(b'name="image"')
    _, _, flash = behind.partition(b'name="flash"; filename="flash"\r\n\r\n')
    assert flash.startswith(merged.read_bytes() + b"\r\n--")


def test_json_is_the_release(cli: Any, api: Any, image: Path, make_release: Any):
    api.answer("POST", PATH, 201, make_release("x"))
    told = cli.done("publish", str(image), "--json")
    assert json.loads(told) == make_release("x")


def test_old_signs_get_it_only_if_one_says_so_twice(
    cli: Any, api: Any, image: Path, make_release: Any
):
    api.answer("POST", PATH, 201, make_release("x", legacy=True))
    result = cli("publish", str(image), "--legacy", input_="n\n")
    assert result.exit_code == 1
    assert not api.asked
    for more in ({"input_": "y\n"}, {}):
        given = ("--legacy",) if more else ("--legacy", "--yes")
        assert "for old signs, too" in cli.done("publish", str(image), *given, **more)
    assert b'name="legacy"\r\n\r\ntrue\r\n' in api.asked[-1][2]


def test_the_servers_words_are_shown(cli: Any, api: Any, image: Path):
    api.refuse("POST", PATH, 400, "IMAGE_REFUSED", "It is a boot loader.")
    result = cli("publish", str(image))
    assert (result.exit_code, result.stderr) == (1, "Error: It is a boot loader.\n")


def test_a_manifest_that_is_missing_is_named_with_what_writes_it(
    cli: Any, api: Any, image: Path
):
    image.with_name("light.bin.manifest").unlink()
    result = cli("publish", str(image))
    assert result.exit_code == 1
    assert "light.bin.manifest cannot be read" in result.stderr
    assert "voicestatus sign" in result.stderr
    assert not api.asked


def test_what_is_refused_early_is_not_sent_to_its_end(tmp_path: Path):
    """The server answers after the head, reads nothing, and hangs up in the end."""
    file = tmp_path / "large.bin"
    with file.open("wb") as stream:
        stream.truncate(256 * 1_048_576)
    refusal = b'{"error": {"code": "UNSUPPORTED", "message": "No, thanks."}}'
    done = threading.Event()

    def serve(listening: socket.socket) -> None:
        peer, _ = listening.accept()
        with peer:
            peer.recv(100)
            head = f"HTTP/1.1 415 No\r\nContent-Length: {len(refusal)}\r\n\r\n"
            peer.sendall(head.encode() + refusal)
            done.wait(10)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        sent: list[int] = []
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        form = Form({}, {"image": file})
        with pytest.raises(Exception, match="No, thanks"):
            Server(url, "t").send_form("/firmware/releases", form, sent.append)
        done.set()
        thread.join()
    assert sum(sent) < form.size_bytes / 4


def test_a_form_is_as_long_as_it_says(image: Path):
    form = Form({"a": b"1", "b": b""}, {"image": image, "flash": image})
    assert sum(map(len, form)) == form.size_bytes
    assert max(map(len, form)) <= 65_536


def test_a_file_that_shrinks_meanwhile_is_not_published(image: Path):
    form = Form({}, {"image": image})
    image.write_bytes(b"\xe9")
    with pytest.raises(Exception, match="became shorter"):
        list(form)
