"""docs/signing.md, played from its beginning to its end in one folder."""

import re
import shlex
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

import pytest
from click.testing import CliRunner

from voicestatus.cli import main
from voicestatus.core.chip import Chip
from voicestatus.core.manifest import PublicKey
from voicestatus.simulator.images import make_image

PAGE = Path(__file__).parents[2] / "docs" / "signing.md"
KEY_ON_THE_PAGE = "a7aecc7f"
ENTRY = b"\xaaP\x00\x10\x00\x00\x01\x00\x00\x00\x10\x00app0".ljust(32, b"\0")


@pytest.fixture
def play(tmp_path: Path) -> Callable[[str], str]:
    """Type a command, in the folder; give what it prints."""
    runner = CliRunner()

    def play(command: str) -> str:
        with chdir(tmp_path):
            printed = runner.invoke(main, shlex.split(command)[1:]).output
        return "\n".join(line.rstrip() for line in printed.splitlines())

    return play


def test_the_page_shows_what_the_commands_print(
    play: Callable[[str], str], tmp_path: Path
):
    app = make_image(Chip.ESP32S2, 65_536, version="1.4.0", build=14)
    (tmp_path / "release.bin").write_bytes(app)
    merged = b"\xff" * 0x8000 + ENTRY.ljust(0x8000, b"\xff") + app
    (tmp_path / "esp32s2_merged.bin").write_bytes(merged)
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
    examples = [each for block in blocks for each in block.split("$ ")[1:]]
    assert len(examples) == 6
    for example in examples:
        command, _, shown = example.partition("\n")
        printed = play(command)
        # The key is another one each time.
        own = PublicKey.parse((tmp_path / "keys" / "release.pub").read_text()).id.hex()
        assert printed == shown.rstrip().replace(KEY_ON_THE_PAGE, own)
    assert (tmp_path / "app.bin").read_bytes() == app
