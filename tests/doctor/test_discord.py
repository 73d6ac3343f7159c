"""What is said of Discord: of the simulated one, on a real port, in all its moods."""

import random
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, time
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as installed
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate

from voicestatus.core.features import Feature
from voicestatus.doctor.discord import GUILDS_MOST, DiscordChecks
from voicestatus.doctor.finding import Finding, Verdict
from voicestatus.simulator.payloads import Overwrite
from voicestatus.simulator.service import SimulatedDiscord
from voicestatus.simulator.sessions import Rules
from voicestatus.simulator.tls import write_certificate

reactor: Any = installed
GUILD = 1187000000000000001
TOKEN = "very.secret.token"
CHECKS = ["tls", "token", "clock", "sessions", "shards", "intents"]
CHECKS += ["server", "channels", "permissions"]
VIEW = 1 << 10

Start = Callable[..., Coroutine[Any, Any, SimulatedDiscord]]


@pytest_twisted.async_yield_fixture
async def start() -> AsyncIterator[Start]:
    """Start a simulator; it is stopped after the test."""
    running: list[SimulatedDiscord] = []

    async def begin(**options: Any) -> SimulatedDiscord:
        options = {"guilds": [GUILD], "rules": Rules(token=TOKEN)} | options
        discord = SimulatedDiscord(reactor, **options)
        discord.startService()
        running.append(discord)
        await discord.listening()
        return discord

    yield begin
    for discord in running:
        await discord.stopService()


async def look(
    url: str,
    *,
    token: str = TOKEN,
    guilds: tuple[int, ...] = (GUILD,),
    features: Collection[Feature] = (Feature.PRESENCE, Feature.COMMUNITY),
    **options: Any,
) -> dict[str, Finding]:
    """Return the last finding of each check; no secret is in any."""
    checks = DiscordChecks(
        url,
        token,
        reactor,
        **{
            "version": "1.2.3",
            "jitter": random.Random(7).random,
            "monotonic": monotonic,
            "wall": time,
            "within_s": 2.0,
        }
        | options,
    )
    findings = await checks.examine(guilds, features)
    await checks.close()
    assert not any(token in repr(finding) for finding in findings)
    return {finding.check: finding for finding in findings}


def verdicts(findings: dict[str, Finding]) -> dict[str, str]:
    return {check: str(finding.verdict) for check, finding in findings.items()}


@pytest_twisted.ensureDeferred
async def test_all_is_well_with_a_bot_that_was_invited(start: Start):
    discord = await start()
    findings = await look(discord.url)
    assert verdicts(findings) == dict.fromkeys(CHECKS, "ok")
    assert "the bot voicestatus" in findings["token"].found
    assert "sees Lounge, Games, AFK, Town Hall;" in findings["channels"].found


@pytest_twisted.ensureDeferred
async def test_a_wrong_token_is_asked_about_once(start: Start):
    discord = await start()
    findings = await look(discord.url, token="a.wrong.one")
    assert findings["token"].verdict is Verdict.FAILED
    assert "Reset Token" in findings["token"].remedy
    assert findings["clock"].verdict is Verdict.OK
    assert findings["sessions"].found == "not checked: Discord refuses the token"
    assert findings["server"].found == "not checked: the token comes first"
    assert len(discord.log()) == 1


@pytest_twisted.ensureDeferred
async def test_a_server_without_the_bot_is_told_with_the_way_to_invite_it(
    start: Start,
):
    discord = await start()
    findings = await look(discord.url, guilds=(GUILD, 42))
    assert findings["server"].verdict is Verdict.FAILED
    for part in (f"client_id={discord.world.bot.id}&", "&guild_id=42&"):
        assert part in findings["server"].remedy


@pytest_twisted.ensureDeferred
async def test_without_guild_id_all_servers_are_looked_at(start: Start):
    discord = await start(guilds=[1, 2])
    checks = await look(discord.url, guilds=())
    assert verdicts(checks) == dict.fromkeys(CHECKS, "ok")
    asked = {entry["path"] for entry in discord.log()}
    assert {"/api/v10/guilds/1/channels", "/api/v10/guilds/2/channels"} <= asked


@pytest_twisted.ensureDeferred
async def test_a_bot_in_no_server_is_told_to_be_invited(start: Start):
    discord = await start()
    discord.stage.remove_guild(GUILD)
    findings = await look(discord.url, guilds=())
    assert findings["server"].verdict is Verdict.FAILED
    assert "oauth2/authorize" in findings["server"].remedy


@pytest_twisted.ensureDeferred
async def test_of_many_servers_some_are_looked_at(start: Start):
    discord = await start(guilds=range(1, GUILDS_MOST + 3))
    findings = await look(discord.url, guilds=())
    assert findings["server"].verdict is Verdict.WARNING
    assert "GUILD_ID" in findings["server"].remedy


@pytest_twisted.ensureDeferred
async def test_a_hidden_room_is_not_among_those_that_are_seen(start: Start):
    discord = await start()
    home = discord.world.guilds[GUILD]
    lounge = next(c for c in home.channels.values() if c.name == "Lounge")
    lounge.overwrites = (Overwrite(GUILD, deny=VIEW),)
    findings = await look(discord.url)
    assert "sees Games, AFK, Town Hall;" in findings["channels"].found
    afk = home.channels[home.afk or 0]
    afk.overwrites = lounge.overwrites
    findings = await look(discord.url)
    assert findings["channels"].verdict is Verdict.WARNING
    assert "AFK channel" in findings["channels"].found
    assert 'role "voicestatus"' in findings["channels"].remedy


@pytest_twisted.ensureDeferred
async def test_roles_that_may_view_nothing_are_a_failure(start: Start):
    discord = await start()
    for role in discord.world.guilds[GUILD].roles:
        role.permissions = 0
    findings = await look(discord.url)
    assert findings["channels"].verdict is Verdict.FAILED
    assert "View Channels" in findings["channels"].remedy


@pytest_twisted.ensureDeferred
async def test_a_switch_that_is_off_is_a_failure_when_a_feature_needs_it(
    start: Start,
):
    discord = await start(rules=Rules(token=TOKEN, disallowed_intents=1 << 1))
    assert (await look(discord.url))["intents"].verdict is Verdict.OK
    findings = await look(discord.url, features=[Feature.MEMBERS])
    assert findings["intents"].verdict is Verdict.FAILED
    assert "Server Members Intent" in findings["intents"].found


@pytest_twisted.ensureDeferred
async def test_spent_sessions_are_a_failure(start: Start):
    discord = await start(rules=Rules(token=TOKEN, session_starts=0))
    assert (await look(discord.url))["sessions"].verdict is Verdict.FAILED


@pytest_twisted.ensureDeferred
async def test_a_clock_that_is_wrong_is_told_even_when_the_token_is(start: Start):
    discord = await start()
    findings = await look(discord.url, token="a.wrong.one", wall=lambda: time() + 60)
    assert findings["clock"].verdict is Verdict.WARNING


# -- faults ----------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_short_rate_limit_is_waited_out(start: Start):
    discord = await start()
    discord.fault("rate_limit", count=1, seconds=0.1)
    assert verdicts(await look(discord.url)) == dict.fromkeys(CHECKS, "ok")


@pytest_twisted.ensureDeferred
async def test_a_long_rate_limit_is_told_and_not_waited_for(start: Start):
    discord = await start()
    discord.fault("rate_limit", route="/gateway/bot", count=9, seconds=60)
    findings = await look(discord.url)
    assert findings["sessions"].verdict is Verdict.FAILED
    assert "try again in 60 s" in findings["sessions"].remedy
    others = {c: v for c, v in verdicts(findings).items() if c != "sessions"}
    assert set(others.values()) == {"ok"}


@pytest_twisted.ensureDeferred
async def test_one_error_of_discords_is_tried_again(start: Start):
    discord = await start()
    discord.fault("http_error", route="/applications", code=502, count=1)
    assert verdicts(await look(discord.url)) == dict.fromkeys(CHECKS, "ok")


@pytest_twisted.ensureDeferred
async def test_a_discord_that_stays_broken_fails_what_it_breaks(start: Start):
    discord = await start()
    discord.fault("http_error", route="/guilds", code=500, count=99)
    findings = await look(discord.url, within_s=0.5)
    assert findings["server"].verdict is Verdict.FAILED
    assert "answered 500" in findings["server"].found
    assert "discordstatus.com" in findings["server"].remedy
    assert findings["intents"].verdict is Verdict.OK


@pytest_twisted.ensureDeferred
async def test_a_refusal_is_told_in_discords_words(start: Start):
    discord = await start()
    discord.fault("http_error", route="/applications", code=403)
    findings = await look(discord.url)
    assert findings["intents"].verdict is Verdict.FAILED
    assert "403" in findings["intents"].found
    assert findings["server"].verdict is Verdict.OK


@pytest_twisted.ensureDeferred
async def test_a_401_later_on_ends_the_questions(start: Start):
    discord = await start()
    discord.fault("http_error", route="/applications", code=401)
    findings = await look(discord.url)
    assert findings["intents"].verdict is Verdict.FAILED
    assert findings["server"].found.endswith("Discord refuses the token")


@pytest_twisted.ensureDeferred
async def test_an_outage_of_a_server_hides_nothing_that_rest_still_tells(start: Start):
    discord = await start()
    discord.fault("outage")
    assert verdicts(await look(discord.url)) == dict.fromkeys(CHECKS, "ok")


@pytest_twisted.ensureDeferred
async def test_nobody_there_is_told_once(start: Start):
    discord = await start()
    url = discord.url
    await discord.stopService()
    findings = await look(url)
    assert findings["token"].verdict is Verdict.FAILED
    assert "127.0.0.1 cannot be reached" in findings["token"].found
    assert findings["clock"].verdict is Verdict.WARNING
    assert findings["intents"].found == "not checked: 127.0.0.1 cannot be reached"


@pytest_twisted.ensureDeferred
async def test_after_half_a_minute_nothing_more_is_asked(start: Start):
    discord = await start()
    minutes = iter(range(0, 6000, 20))
    findings = await look(discord.url, monotonic=lambda: float(next(minutes)))
    assert findings["server"].verdict is Verdict.WARNING
    assert "took too long" in findings["server"].found


@pytest_twisted.ensureDeferred
async def test_servers_that_cannot_be_listed_are_a_failure(start: Start):
    discord = await start()
    discord.fault("http_error", route="/users/@me/guilds", code=403)
    findings = await look(discord.url, guilds=())
    assert findings["server"].verdict is Verdict.FAILED


@pytest_twisted.ensureDeferred
async def test_an_answer_that_never_comes_is_not_waited_for():
    factory = Factory.forProtocol(Protocol)
    factory.noisy = False
    silent = reactor.listenTCP(0, factory, interface="127.0.0.1")
    findings = await look(f"http://127.0.0.1:{silent.getHost().port}", within_s=0.1)
    await silent.stopListening()
    assert findings["token"].verdict is Verdict.FAILED
    assert findings["token"].found.endswith("no answer within 0.1 s")


@pytest_twisted.ensureDeferred
async def test_of_a_silent_host_no_certificate_is_known(start: Start):
    discord = await start()
    url = discord.url
    await discord.stopService()
    findings = await look(url.replace("http:", "https:"))
    assert findings["tls"].found == "not checked: 127.0.0.1 did not answer"


# -- TLS -------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Any, Certificate]:
    """Make a certificate, and what one has to trust."""
    made = write_certificate(tmp_path, lambda: datetime.now(UTC))
    return made, Certificate.loadPEM((tmp_path / "ca.pem").read_bytes())


@pytest_twisted.ensureDeferred
async def test_a_certificate_that_is_trusted_is_well(start: Start, authority: Any):
    made, trusted = authority
    discord = await start(certificate=made)
    findings = await look(discord.url, trust_root=trusted)
    assert verdicts(findings) == dict.fromkeys(CHECKS, "ok")


@pytest_twisted.ensureDeferred
async def test_a_certificate_that_is_not_trusted_is_the_one_failure(
    start: Start, authority: Any
):
    made, _ = authority
    discord = await start(certificate=made)
    findings = await look(discord.url)
    assert findings["tls"].verdict is Verdict.FAILED
    assert "ca-certificates" in findings["tls"].remedy
    assert [v for v in verdicts(findings).values() if v == "failed"] == ["failed"]
