"""`voicestatus check-env`, as its user types it."""

import json
from pathlib import Path

from click.testing import CliRunner

from voicestatus.cli import main


def run(file: Path, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["check-env", str(file), *options])
    return result.exit_code, result.output


def test_a_file_of_the_original_is_understood(tmp_path: Path):
    file = tmp_path / ".env"
    file.write_text(
        "DISCORD_TOKEN=a.b.c\nGUILD_ID=123\nESP_AUTH_TOKEN=sesame\n"
        "ESP_WS_PORT=8080\nHEALTH_PORT=3000\nCLOUDFLARE_TUNNEL_TOKEN=tunnel\n"
    )
    status, output = run(file)
    assert status == 0
    assert "understood  GUILD_ID" in output
    assert "ignored     CLOUDFLARE_TUNNEL_TOKEN" in output
    assert "would start" in output
    assert not any(secret in output for secret in ("a.b.c", "sesame", "tunnel"))


def test_what_would_stop_a_start_is_told_with_status_1(tmp_path: Path):
    file = tmp_path / ".env"
    file.write_text("DISCORD_TOKEN=a.b.c\nGUILD_ID=mine\n// note\n")
    status, output = run(file, "--json")
    assert status == 1
    found = json.loads(output)
    assert found["wrong"].keys() == {"GUILD_ID", "ESP_AUTH_TOKEN"}
    assert found["unreadableLines"] == [3]


def test_a_missing_file_is_wrong_use(tmp_path: Path):
    assert run(tmp_path / "none")[0] == 2
