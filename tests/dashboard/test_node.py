"""The page's own logic is tested by node, which runs it as the browser does."""

import subprocess
from importlib.resources import files
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = Path(str(files("voicestatus.web") / "dashboard"))


def run(*command: str | Path) -> str:
    ended = subprocess.run(
        ["node", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def test_the_pages_modules_do_what_their_tests_say():
    said = run("--test", "--test-reporter=tap", *sorted(HERE.glob("*.test.mjs")))
    assert "# fail 0" in said


def test_no_module_takes_text_for_markup_or_has_code_in_a_string():
    for module in SOURCES.rglob("*.js"):
        if {"vendor", "flasher"} & {*module.parts}:
            continue
        text = module.read_text()
        for forbidden in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "eval(",
            "new Function",
        ):
            assert forbidden not in text, f"{forbidden} in {module}"
