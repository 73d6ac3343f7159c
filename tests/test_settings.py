"""Settings: what is read, what is refused by name, and that no value is ever told."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicestatus.core.errors import ConfigError
from voicestatus.core.features import Feature
from voicestatus.core.fleet import Enrolment
from voicestatus.settings import Settings, examine, judge, load

RIGHT = {"DISCORD_TOKEN": "bot-token", "ESP_AUTH_TOKEN": "sign-token"}

WRONG = {
    "GUILD_ID": "12x",
    "PORT": "70000",
    "ESP_WS_PORT": "x",
    "HOST": "not an address",
    "HEALTH_PORT": "0",
    "WS_PATH": "/health",
    "TRUSTED_PROXIES": "10.0.0.0/99",
    "MAX_CONNECTIONS": "many",
    "MAX_PER_ADDRESS": "-1",
    "STORAGE_URL": "mysql://root:hunter2@db",
    "COUNT_BOTS": "perhaps",
    "COUNT_AFK": "17",
    "UNKNOWN_POLICY": "guess",
    "UNKNOWN_AFTER": "soon",
    "ENROLMENT": "perhaps",
    "FEATURES": "presence, music",
    "SHARDS": "16385",
    "LEASE_S": "0.5",
    "DISCORD_API_URL": "ftp://example.org",
    "LOG_LEVEL": "loud",
    "LOG_FORMAT": "xml",
    "DISCORD_TOKEN": "bell\x07",
    "ESP_AUTH_TOKEN": "bell\x07",
    "ADMIN_TOKEN": "bell\x07",
    "DISCORD_CLIENT_ID": "my app",
    "DISCORD_CLIENT_SECRET": "bell\x07",
    "METRICS_TOKEN": "bell\x07",
    "DISCORD_TOKEN_FILE": "/nowhere/token",
}


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (*RIGHT, *WRONG, "STATE_DIRECTORY", "ESP_AUTH_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / ".env"


def written(file: Path, values: dict[str, str]) -> str:
    file.write_text("".join(f"{name}='{value}'\n" for name, value in values.items()))
    return str(file)


def test_two_tokens_are_enough(env_file: Path):
    settings = load(written(env_file, RIGHT))
    assert settings.discord_token.get_secret_value() == "bot-token"
    assert settings.port == 8080
    assert settings.ws_path == "/ws"
    assert settings.storage_url == "sqlite:voicestatus.db"
    assert settings.guild_id == ()
    assert settings.unknown_policy == "hold"


def test_the_environment_beats_the_file_and_both_beat_a_default(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ESP_AUTH_TOKEN", "from the environment")
    settings = load(
        written(env_file, RIGHT),
        {"ESP_AUTH_TOKEN": "default", "ADMIN_TOKEN": "default"},
    )
    assert settings.esp_auth_token.get_secret_value() == "from the environment"
    assert settings.discord_token.get_secret_value() == "bot-token"
    assert settings.admin_token is not None
    assert settings.admin_token.get_secret_value() == "default"


def test_several_guilds_and_proxies_are_separated_by_commas(env_file: Path):
    settings = load(
        written(
            env_file,
            RIGHT
            | {"GUILD_ID": "12, 34,", "TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8,::1"},
        )
    )
    assert settings.guild_id == (12, 34)
    assert [str(n) for n in settings.trusted_proxies] == [
        "127.0.0.1/32",
        "10.0.0.0/8",
        "::1/128",
    ]


def test_the_originals_name_of_the_port_is_known_and_the_new_one_wins(env_file: Path):
    assert load(written(env_file, RIGHT | {"ESP_WS_PORT": "8081"})).port == 8081
    both = RIGHT | {"ESP_WS_PORT": "8081", "PORT": "8082"}
    assert load(written(env_file, both)).port == 8082


def test_the_limits_have_their_bounds(env_file: Path):
    settings = load(written(env_file, RIGHT | {"MAX_PER_ADDRESS": "0"}))
    assert (settings.max_connections, settings.max_per_address) == (50_000, 0)
    with pytest.raises(ConfigError, match="MAX_CONNECTIONS"):
        load(written(env_file, RIGHT | {"MAX_CONNECTIONS": "0"}))


def test_enrolment_is_open_unless_it_is_said_otherwise(env_file: Path):
    assert load(written(env_file, RIGHT)).enrolment is Enrolment.OPEN
    chosen = load(written(env_file, RIGHT | {"ENROLMENT": "Approve"}))
    assert chosen.enrolment is Enrolment.APPROVE


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("", {Feature.COMMUNITY}),
        ("presence", set()),
        (" Members, message-content,", {Feature.MEMBERS, Feature.MESSAGE_CONTENT}),
        ("speaking", {Feature.SPEAKING}),
    ],
)
def test_features_are_a_list_and_presence_is_always_one(
    env_file: Path, text: str, more: set[Feature]
):
    features = load(written(env_file, RIGHT | {"FEATURES": text})).features
    assert features == {Feature.PRESENCE} | more


@pytest.mark.parametrize(
    ("text", "shards"), [("", None), ("auto", None), ("AUTO", None), ("16384", 16384)]
)
def test_discord_says_how_many_shards_unless_a_number_is_set(
    env_file: Path, text: str, shards: int | None
):
    assert load(written(env_file, RIGHT | {"SHARDS": text})).shards == shards


@pytest.mark.parametrize("text", ["0", "-1", "4.5", "many", "none"])
def test_what_is_no_number_of_shards_is_refused(env_file: Path, text: str):
    with pytest.raises(ConfigError, match="SHARDS should hold auto, or a number"):
        load(written(env_file, RIGHT | {"SHARDS": text}))


def test_a_value_is_taken_as_it_stands(env_file: Path):
    settings = load(written(env_file, RIGHT | {"ESP_AUTH_TOKEN": "se${HOME}$cret"}))
    assert settings.esp_auth_token.get_secret_value() == "se${HOME}$cret"


def test_an_empty_value_is_no_value(env_file: Path):
    assert load(written(env_file, RIGHT | {"PORT": "", "GUILD_ID": ""})).port == 8080


def test_spaces_around_a_value_are_no_part_of_it(env_file: Path):
    spaced = {"COUNT_BOTS": " true ", "WS_PATH": "/signs ", "ADMIN_TOKEN": "  "}
    settings = load(written(env_file, RIGHT | spaced))
    assert (settings.count_bots, settings.ws_path) == (True, "/signs")
    assert settings.admin_token is None


def test_nothing_but_spaces_is_no_secret(env_file: Path, tmp_path: Path):
    (tmp_path / "token").write_text(" \n")
    for values in (
        {"ESP_AUTH_TOKEN": "  "},
        {"ESP_AUTH_TOKEN_FILE": str(tmp_path / "token")},
    ):
        file = written(env_file, {"DISCORD_TOKEN": "bot-token"} | values)
        with pytest.raises(ConfigError, match="ESP_AUTH_TOKEN should hold"):
            load(file)


def test_a_secrets_file_named_in_the_environment_beats_the_env_file(
    env_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "token").write_text("mounted")
    monkeypatch.setenv("DISCORD_TOKEN_FILE", str(tmp_path / "token"))
    settings = load(written(env_file, RIGHT))
    assert settings.discord_token.get_secret_value() == "mounted"


@pytest.mark.parametrize(
    "path", ["ws", "/", "/w s", "/wß", "/w\x07s", "/ws?x", "/%77s", "/health/ws"]
)
def test_a_path_that_no_sign_could_ask_for_is_refused(env_file: Path, path: str):
    with pytest.raises(ConfigError, match="WS_PATH should hold"):
        load(written(env_file, RIGHT | {"WS_PATH": path}))


@pytest.mark.parametrize(
    "url", ["http://", "http://[::1", "http://x:port", "http://x:70000", "http://x/?a"]
)
def test_an_address_where_no_api_can_be_is_refused(env_file: Path, url: str):
    with pytest.raises(ConfigError, match="DISCORD_API_URL should hold"):
        load(written(env_file, RIGHT | {"DISCORD_API_URL": url}))


@pytest.mark.parametrize(
    "url",
    [
        "memory",
        "memory:x",
        "sqlite",
        "sqlite:",
        "sqlite://voicestatus.db",
        "sqlite:///data/voicestatus.db",
        "sqlite::memory:",
        "postgres://user:secret@host/name",
        "/data/voicestatus.db",
    ],
)
def test_an_address_of_no_store_is_refused(env_file: Path, url: str):
    with pytest.raises(ConfigError, match="STORAGE_URL should hold") as refused:
        load(written(env_file, RIGHT | {"STORAGE_URL": url}))
    assert "secret" not in str(refused.value)


def test_a_secret_may_come_from_a_file(env_file: Path, tmp_path: Path):
    (tmp_path / "token").write_text("from a file\n")
    path = str(tmp_path / "token")
    values = {"DISCORD_TOKEN_FILE": path, "ESP_AUTH_TOKEN": "x"}
    settings = load(written(env_file, values), {"DISCORD_TOKEN": "default"})
    assert settings.discord_token.get_secret_value() == "from a file"


def test_under_systemd_the_store_lies_in_the_state_directory(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/voicestatus:/other")
    settings = load(written(env_file, RIGHT))
    assert settings.storage_url == "sqlite:/var/lib/voicestatus/voicestatus.db"


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_refused_by_name_and_not_shown(env_file: Path, name: str):
    values = RIGHT | {name: WRONG[name]}
    if name.endswith("_FILE"):
        del values[name.removesuffix("_FILE")]
    with pytest.raises(ConfigError) as caught:
        load(written(env_file, values))
    lines = str(caught.value).splitlines()
    assert [line.split()[0] for line in lines] == [name]
    assert WRONG[name] not in str(caught.value)


def test_every_wrong_variable_is_named_at_once(env_file: Path):
    values = {n: v for n, v in WRONG.items() if n != "ESP_WS_PORT"}
    with pytest.raises(ConfigError) as caught:
        load(written(env_file, values))
    named = {line.split()[0] for line in str(caught.value).splitlines()}
    assert named == values.keys() - {"DISCORD_TOKEN_FILE"}


def test_a_missing_token_is_named(env_file: Path):
    with pytest.raises(ConfigError, match=r"DISCORD_TOKEN should hold(.|\n)*ESP_AUTH"):
        load(written(env_file, {"PORT": "8080"}))


@pytest.mark.parametrize(
    "ports",
    [
        {"PORT": "3000", "HEALTH_PORT": "3000"},
        {"PORT": "03000", "HEALTH_PORT": "3000 "},
        {"ESP_WS_PORT": "3000", "HEALTH_PORT": "3000"},
        {"HEALTH_PORT": "8080"},
    ],
)
def test_the_health_port_cannot_be_the_port(env_file: Path, ports: dict[str, str]):
    with pytest.raises(ConfigError, match="HEALTH_PORT"):
        load(written(env_file, RIGHT | ports))


def test_a_client_secret_is_of_a_client(env_file: Path):
    with pytest.raises(ConfigError, match="DISCORD_CLIENT_SECRET should hold"):
        load(written(env_file, RIGHT | {"DISCORD_CLIENT_SECRET": "secret"}))
    both = {"DISCORD_CLIENT_ID": "1187", "DISCORD_CLIENT_SECRET": "secret"}
    assert load(written(env_file, RIGHT | both)).discord_client_id == "1187"


def test_a_file_that_cannot_be_read_is_named(env_file: Path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(str(env_file))
    env_file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(str(env_file))


def test_an_old_file_is_understood_and_what_is_not_is_told_by_line(env_file: Path):
    env_file.write_text(
        "# the original's\n"
        "DISCORD_TOKEN=abc\n"
        "ESP_WS_PORT=8080\n"
        "CLOUDFLARE_TUNNEL_TOKEN=xyz\n"
        "\n"
        "// Fix below\n"
        "npm install\n"
        "LOG_LEVEL=loud # very\n"
    )
    found = examine(str(env_file))
    assert found.understood == ("DISCORD_TOKEN", "ESP_WS_PORT", "LOG_LEVEL")
    assert found.unknown == ("CLOUDFLARE_TUNNEL_TOKEN",)
    assert found.unreadable_lines == (6, 7)
    assert judge(str(env_file)).keys() == {"ESP_AUTH_TOKEN", "LOG_LEVEL"}


def test_no_secret_is_in_the_settings_text(env_file: Path):
    settings = load(written(env_file, RIGHT | {"ADMIN_TOKEN": "admin-token"}))
    for text in (repr(settings), str(settings)):
        assert not any(token in text for token in ("bot-", "sign-", "admin-t"))


@given(
    st.dictionaries(
        st.sampled_from([f.validation_alias for f in Settings.model_fields.values()])
        .filter(lambda alias: isinstance(alias, str))
        .map(str),
        st.text(st.characters(codec="utf-8", exclude_characters="\x00'\\"), min_size=5),
    )
)
def test_whatever_is_given_it_is_taken_or_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, str]
):
    file = tmp_path_factory.mktemp("env") / ".env"
    file.write_text(
        "".join(f"{name}='{value}'\n" for name, value in values.items()), "utf-8"
    )
    wrong = judge(str(file))
    assert wrong.keys() <= values.keys() | {"DISCORD_TOKEN", "ESP_AUTH_TOKEN"}
    for should in wrong.values():
        assert should.startswith("should hold ")
