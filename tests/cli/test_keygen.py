"""`voicestatus keygen`, as its user types it."""

from base64 import b64decode
from pathlib import Path

from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from voicestatus.cli import main
from voicestatus.settings import load


def keygen(folder: Path) -> Result:
    return CliRunner().invoke(main, ["keygen", "--out", str(folder)])


def test_it_writes_a_pair_of_which_only_its_owner_can_read_the_private_half(
    tmp_path: Path,
):
    folder = tmp_path / "new" / "keys"
    result = keygen(folder)
    assert result.exit_code == 0, result.output
    key, pub = folder / "release.key", folder / "release.pub"
    assert key.stat().st_mode & 0o777 == 0o600
    private = load_pem_private_key(key.read_bytes(), None)
    assert isinstance(private, Ed25519PrivateKey)
    text = pub.read_text()
    assert text.endswith("\n")
    assert text.count("\n") == 1
    assert b64decode(text) == private.public_key().public_bytes_raw()


def test_the_private_key_is_never_shown(tmp_path: Path):
    shown = keygen(tmp_path).output
    secret = (tmp_path / "release.key").read_text().splitlines()[1]
    assert secret not in shown


def test_the_server_takes_what_it_wrote(tmp_path: Path):
    keygen(tmp_path)
    text = (tmp_path / "release.pub").read_text()
    given = {
        "DISCORD_TOKEN": "a.b.c",
        "ESP_AUTH_TOKEN": "sesame",
        "OTA_PUBLIC_KEYS": text,
    }
    assert load(None, given).ota_public_keys == (text.strip(),)


def test_two_runs_draw_two_keys(tmp_path: Path):
    keygen(tmp_path / "a")
    keygen(tmp_path / "b")
    one, other = (tmp_path / name / "release.pub" for name in "ab")
    assert one.read_text() != other.read_text()


def test_it_overwrites_nothing(tmp_path: Path):
    for name in ("release.key", "release.pub"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_text("precious")
        result = keygen(folder)
        assert result.exit_code == 1
        assert "is kept" in result.output
        assert [file.name for file in folder.iterdir()] == [name]
        assert (folder / name).read_text() == "precious"


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("")
    result = keygen(tmp_path / "file" / "keys")
    assert result.exit_code == 1
    assert "cannot be written" in result.output


def test_without_a_folder_it_is_wrong_use():
    assert CliRunner().invoke(main, ["keygen"]).exit_code == 2
