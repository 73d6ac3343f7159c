"""docs/trace.md shows a real trace and what is really printed."""

import re
import shlex
from pathlib import Path

from click.testing import CliRunner

from voicestatus.cli import main
from voicestatus.options import Options

PAGE = (Path(__file__).parents[2] / "docs" / "trace.md").read_text()
TRACE = Path(__file__).parents[1] / "fixtures" / "trace" / "day.trace"


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def test_the_replay_is_what_one_gets(tmp_path: Path):
    prompt, _, shown = block("console").partition("\n")
    command, *words = shlex.split(prompt.removeprefix("$ "))
    assert command == "voicestatus"
    words = [str(TRACE) if word == TRACE.name else word for word in words]
    assert CliRunner().invoke(main, words).output == shown


def test_the_lines_are_those_of_a_trace():
    assert TRACE.read_text().startswith(block("json"))


def test_the_server_takes_the_option_that_is_shown():
    words = shlex.split(block("sh"))
    Options().parseOptions(["--demo", *words[words.index("voicestatus") + 1 :]])
