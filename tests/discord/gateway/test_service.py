"""The whole gateway against the simulated Discord, on real ports."""

import random
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
import pytest_twisted
from prometheus_client import CollectorRegistry
from twisted.internet.ssl import Certificate
from twisted.internet.task import deferLater

from voicestatus.cluster.service import OnlyNode
from voicestatus.core.features import Feature
from voicestatus.core.guild_news import MemberJoined
from voicestatus.core.presence import (
    GuildArrived,
    GuildUnavailable,
    Presence,
    SessionBegan,
    SessionResumed,
    SourceLost,
    SyncEnded,
    VoiceUpdated,
)
from voicestatus.discord.gateway.service import GatewayService
from voicestatus.discord.gateway.status import State
from voicestatus.discord.rest.client import RestClient
from voicestatus.hub import Hub
from voicestatus.journal.service import Journal
from voicestatus.simulator.service import SimulatedDiscord
from voicestatus.simulator.sessions import Rules
from voicestatus.simulator.tls import write_certificate
from voicestatus.store.memory import MemoryStore

GUILD, ADA = 1187000000000000001, 77
in_reactor = pytest_twisted.ensureDeferred


async def until(holds, look_every_s=0.005):
    from twisted.internet import reactor

    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        await deferLater(reactor, look_every_s)


@pytest_twisted.async_yield_fixture()
async def house():
    """A simulated Discord and a gateway that logs in to it."""
    from twisted.internet import reactor

    house = SimpleNamespace(discord=None, gateway=None, told=[], lags=[])
    house.store = MemoryStore()
    house.store.startService()

    async def open_discord(**options):
        options.setdefault("guilds", [GUILD])
        house.discord = SimulatedDiscord(reactor, **options)
        house.discord.startService()
        await house.discord.listening()
        house.room = house.discord.world.guilds[GUILD].rooms[0]

    def deliver(shard, event, at):
        house.nodes.presences.deliver(shard, event)
        house.told.append(event)
        house.lags.append(time.monotonic() - at)

    def open_gateway(wall=time.time, **options):
        registry = CollectorRegistry()
        house.hub = Hub(Presence())
        house.journal = Journal(
            house.hub,
            house.store,
            made_for="this test",
            clock=reactor,
            wall=wall,
            registry=registry,
        )
        house.nodes = OnlyNode(house.hub)
        house.rest = RestClient(
            house.discord.url,
            "a.bot.token",
            reactor,
            version="1.2.3",
            jitter=lambda: random.random() / 10,
            monotonic=time.monotonic,
            trust_root=options.get("trust_root"),
        )
        house.gateway = GatewayService(
            **{
                "token": "a.bot.token",
                "api_url": house.discord.url,
                "rest": house.rest,
                "features": {Feature.PRESENCE},
                "deliver": deliver,
                "documents": house.store,
                "journal": house.journal,
                "nodes": house.nodes,
                "registry": registry,
                "reactor": reactor,
                "monotonic": time.monotonic,
                "wall": wall,
                "jitter": lambda: random.random() / 10,  # short waits
            }
            | options
        )
        house.journal.startService()
        house.gateway.startService()
        house.nodes.startService()

    async def stop():
        await house.nodes.stopService()
        await house.gateway.stopService()
        await house.rest.close()
        await house.journal.stopService()

    async def ready(rules=Rules(), **options):  # noqa: B008 - frozen
        await open_discord(rules=rules)
        open_gateway(**options)
        await until(lambda: SyncEnded(0) in house.told)

    def did(kind):
        return [e for e in house.discord.log() if e["kind"] == kind]

    house.open_discord, house.open_gateway = open_discord, open_gateway
    house.ready, house.did, house.stop = ready, did, stop
    yield house
    if house.gateway is not None and house.gateway.running:
        await house.stop()
    await house.discord.stopService()


@in_reactor
@pytest.mark.parametrize("compress", [None, "zlib-stream", "zstd-stream"])
async def test_it_logs_in_and_hears_everything_at_once(house, compress):
    await house.ready(compress=compress)
    kinds = [type(event) for event in house.told]
    assert kinds == [SessionBegan, GuildArrived, SyncEnded]
    assert house.gateway.status.ready
    house.discord.stage.voice(GUILD, ADA, house.room)
    await until(lambda: len(house.told) == 4)
    joined = house.told[3]
    assert isinstance(joined, VoiceUpdated)
    assert (joined.user, joined.voice.channel) == (ADA, house.room)
    assert (joined.voice.name, joined.voice.avatar_url) == (f"User-{ADA}", None)
    assert max(house.lags) < 1


@in_reactor
async def test_people_who_are_there_already_have_names_and_pictures(house):
    await house.open_discord()
    stage = house.discord.stage
    stage.meet(GUILD, ADA, "ada")
    stage.world.users[ADA].avatar = "a1"
    stage.voice(GUILD, ADA, house.room)
    stage.voice(GUILD, ADA + 1, house.room)
    stage.change_member(GUILD, ADA + 1, nick="Ben", avatar="b1")
    house.open_gateway()
    await until(lambda: SyncEnded(0) in house.told)
    there = house.hub.presence.guilds[GUILD].voices.values()
    cdn = "https://cdn.discordapp.com"
    assert {(voice.name, voice.avatar_url) for voice in there} == {
        ("Ada", f"{cdn}/avatars/{ADA}/a1.png"),
        ("Ben", f"{cdn}/guilds/{GUILD}/users/{ADA + 1}/avatars/b1.png"),
    }


@in_reactor
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "drop"},
        {"kind": "close", "code": 4000},
        {"kind": "close", "code": 1001},
        {"kind": "reconnect"},
        {"kind": "invalid_session", "resumable": True},
    ],
    ids=lambda fault: f"{fault['kind']}-{fault.get('code', '')}",
)
async def test_a_broken_link_is_resumed_and_nothing_is_missed(house, fault):
    await house.ready()
    house.told.clear()
    house.discord.stage.fault(**fault)
    house.discord.stage.voice(GUILD, ADA, house.room)
    await until(lambda: SessionResumed(0) in house.told)
    assert [type(event) for event in house.told] == [
        SourceLost,
        VoiceUpdated,
        SessionResumed,
    ]
    assert len(house.did("identify")) == 1
    assert [entry["ok"] for entry in house.did("resume")] == [True]


@in_reactor
async def test_a_zombie_is_resumed(house):
    await house.open_discord(rules=Rules(heartbeat_interval_s=0.3))
    house.open_gateway()
    await until(lambda: SyncEnded(0) in house.told)
    house.discord.stage.fault("zombie")
    house.discord.stage.voice(GUILD, ADA, house.room)
    await until(lambda: SessionResumed(0) in house.told)
    assert len([e for e in house.told if isinstance(e, VoiceUpdated)]) == 1
    assert house.did("close")[0]["code"] == 4000


@in_reactor
async def test_an_outage_says_that_nothing_is_known(house):
    await house.ready()
    house.discord.stage.fault("outage", guild=GUILD)
    await until(lambda: GuildUnavailable(GUILD) in house.told)
    house.told.clear()
    house.discord.stage.fault("outage_end", guild=GUILD)
    await until(lambda: house.told)
    assert isinstance(house.told[0], GuildArrived)


@in_reactor
async def test_garbage_is_skipped_and_the_link_lives(house):
    await house.ready()
    house.discord.stage.fault("garbage", count=4)
    house.discord.stage.voice(GUILD, ADA, house.room)
    await until(lambda: isinstance(house.told[-1], VoiceUpdated))
    house.discord.stage.fault("drop")
    await until(lambda: SessionResumed(0) in house.told)
    assert house.did("resumed")[0]["replayed"] == 0  # garbage counts, too


@in_reactor
async def test_a_429_is_waited_out(house):
    await house.open_discord()
    house.discord.stage.fault("rate_limit", route="/gateway/bot", seconds=0.2)
    house.open_gateway()
    await until(lambda: house.gateway.status.ready)
    assert [entry["status"] for entry in house.did("rest")] == [429, 200]


@in_reactor
async def test_a_401_stops_it_for_good(house):
    await house.open_discord()
    house.discord.stage.fault("http_error", route="/gateway/bot", code=401, count=9)
    house.open_gateway()
    await until(lambda: house.gateway.status.state is State.STOPPED)
    assert "DISCORD_TOKEN" in house.gateway.status.problem
    assert len(house.did("rest")) == 1
    assert house.did("connect") == []


@in_reactor
async def test_a_restarted_process_resumes_and_misses_nothing(house):
    await house.ready()
    await house.stop()
    assert house.did("close")[-1]["code"] == 4000
    house.discord.stage.voice(GUILD, ADA, house.room)
    house.told.clear()
    house.open_gateway()
    await until(lambda: SessionResumed(0) in house.told)
    assert [type(event) for event in house.told] == [VoiceUpdated, SessionResumed]
    assert len(house.did("identify")) == 1


@in_reactor
async def test_a_forgotten_session_is_begun_anew(house):
    await house.ready(rules=Rules(identify_every_s=0.0))
    await house.stop()
    house.discord.stage.fault("forget_sessions")
    house.told.clear()
    house.open_gateway(wall=lambda: time.time() + 60)
    await until(lambda: SyncEnded(0) in house.told)
    assert isinstance(house.told[0], SessionBegan)
    assert [entry["ok"] for entry in house.did("resume")] == [False]


@in_reactor
async def test_it_speaks_tls_to_whom_it_trusts_and_resumes_over_it(house, tmp_path):
    certificate = write_certificate(tmp_path, lambda: datetime.now(UTC))
    await house.open_discord(certificate=certificate)
    authority = Certificate.loadPEM((tmp_path / "ca.pem").read_bytes())
    house.open_gateway(trust_root=authority)
    await until(lambda: house.gateway.status.ready)
    house.discord.stage.fault("drop")
    await until(lambda: SessionResumed(0) in house.told)
    assert house.discord.url.startswith("https:")


@in_reactor
async def test_it_does_not_show_its_token_to_a_stranger(house, tmp_path):
    certificate = write_certificate(tmp_path, lambda: datetime.now(UTC))
    await house.open_discord(certificate=certificate)
    house.open_gateway()  # trusts the system's authorities alone
    await until(lambda: house.gateway.status.problem)
    assert "out of reach" in house.gateway.status.problem
    assert house.did("rest") == house.did("connect") == []


@in_reactor
async def test_it_has_as_many_shards_as_discord_recommends(house):
    await house.open_discord(rules=Rules(shards=3, max_concurrency=3))
    house.open_gateway()
    await until(lambda: house.gateway.status.ready)
    asked = sorted(e["shard"] for e in house.did("identify"))
    assert asked == [[n, 3] for n in range(3)]
    assert len(house.did("rest")) == 1  # all of them go by one answer


@in_reactor
async def test_sixteen_shards_are_begun_side_by_side_and_resumed_so(house):
    await house.open_discord(rules=Rules(shards=16, max_concurrency=16))
    house.open_gateway()
    await until(lambda: house.gateway.status.ready)
    await house.stop()
    house.open_gateway()
    await until(lambda: house.gateway.status.ready)
    assert len(house.did("identify")) == len(house.did("resume")) == 16
    assert len(house.did("rest")) == 1


@in_reactor
async def test_while_the_number_of_shards_cannot_be_asked_the_status_says_why(house):
    await house.open_discord()
    house.discord.stage.fault("http_error", route="/gateway/bot", code=403, count=1)
    house.open_gateway()
    await until(lambda: house.gateway.status.problem)
    assert "403" in house.gateway.status.problem
    await until(lambda: house.gateway.status.ready)


@in_reactor
async def test_who_has_set_too_few_shards_is_told_so(house):
    guilds = range(GUILD, GUILD + 3)
    await house.open_discord(guilds=guilds, rules=Rules(guilds_a_shard=1))
    house.open_gateway(shard_count=2)
    await until(lambda: house.gateway.status.state is State.STOPPED)
    assert "SHARDS=auto" in house.gateway.status.problem


@in_reactor
async def test_where_discord_wants_more_shards_and_names_none_it_is_asked_again(house):
    await house.ready()
    house.discord.stage.fault("close", code=4011)
    await until(lambda: not house.gateway.status.ready)
    assert house.gateway.status.problem == "Discord wants more shards"
    assert not house.hub.presence.guilds[GUILD].awaited
    house.discord.stage.add_guild(GUILD + 1)
    house.discord.gateway.sessions.rules = Rules(guilds_a_shard=1, max_concurrency=2)
    await until(lambda: house.gateway.status.ready)
    assert sorted(e["shard"] for e in house.did("identify")) == [[0, 1], [0, 2], [1, 2]]


@in_reactor
async def test_a_stop_while_it_spreads_anew_closes_every_connection(house):
    await house.ready(rules=Rules(max_concurrency=9))
    house.discord.gateway.sessions.rules = Rules(shards=2)
    house.gateway._outgrown()
    # Both numbers of shards are there for as long as it takes to close one.
    await until(lambda: len(house.did("connect")) > 1, look_every_s=0)
    await house.stop()
    await until(lambda: len(house.did("close")) == len(house.did("connect")))


@in_reactor
async def test_a_stop_while_it_asks_for_the_number_of_shards_leaves_nothing(house):
    await house.open_discord()
    house.discord.stage.fault("http_error", route="/gateway/bot", code=403, count=99)
    house.open_gateway()
    await until(lambda: house.gateway.status.problem)
    await house.stop()


ALL = {Feature.PRESENCE, Feature.COMMUNITY, Feature.MEMBERS}


@in_reactor
async def test_news_of_a_guild_are_heard_and_those_of_a_gap_too(house):
    news = []
    await house.ready(features=ALL, hear_news=news.append)
    stage = house.discord.stage
    stage.meet(GUILD, ADA, "ada")
    stage.fault("drop")
    stage.meet(GUILD, ADA + 1, "ben")
    await until(lambda: SessionResumed(0) in house.told)
    assert news == [MemberJoined(GUILD, ADA), MemberJoined(GUILD, ADA + 1)]


@in_reactor
async def test_a_switch_that_is_off_stops_nothing_and_a_restart_resumes(house):
    rules = Rules(disallowed_intents=1 << 1)
    await house.ready(rules=rules, features=ALL)
    assert [entry["intents"] for entry in house.did("identify")] == [193]
    assert house.gateway.switched_off.keys() == {Feature.MEMBERS}
    await house.stop()
    house.told.clear()
    house.open_gateway(features=ALL)
    await until(lambda: SessionResumed(0) in house.told)
    await house.stop()
    # Switched on meanwhile: what is resumed would never tell of members.
    house.discord.gateway.sessions.rules = Rules(identify_every_s=0.0)
    house.told.clear()
    house.open_gateway(features=ALL, wall=lambda: time.time() + 60)
    await until(lambda: SyncEnded(0) in house.told)
    assert [entry["intents"] for entry in house.did("identify")] == [193, 195]
    assert house.gateway.switched_off == {}


@in_reactor
async def test_two_shards_share_one_budget(house):
    await house.open_discord(rules=Rules(identify_every_s=5.0))
    moments = iter(range(1_800_000_000, 1_900_000_000, 10))
    house.open_gateway(shard_count=2, wall=lambda: next(moments))
    await until(lambda: len(house.did("identify")) == 2)
    assert [e["shard"] for e in house.did("identify")] == [[0, 2], [1, 2]]
