"""The whole simulator on a real port, as clients and tests meet it."""

import json
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import treq
import zstandard
from autobahn.twisted.websocket import (
    WebSocketClientFactory,
    WebSocketClientProtocol,
    connectWS,
)
from twisted.internet import reactor as installed
from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.internet.task import deferLater
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool

from voicestatus.simulator.service import SimulatedDiscord
from voicestatus.simulator.sessions import Rules
from voicestatus.simulator.tls import write_certificate

reactor: Any = installed
GUILD = 1187000000000000001
DEADLINE_S = 5.0


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition; fail when it does not come true in time."""
    deadline = reactor.seconds() + DEADLINE_S
    while not condition():
        assert reactor.seconds() < deadline, "it never came true"
        await deferLater(reactor, 0.005, lambda: None)


class Client(WebSocketClientProtocol):
    """A gateway client that keeps what it is told."""

    factory: Any

    def onOpen(self) -> None:
        self.factory.link = self

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        assert isBinary == bool(self.factory.compress)
        self.factory.told.append(json.loads(self.factory.inflate(payload)))

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.factory.closed = code


class ClientFactory(WebSocketClientFactory):
    protocol = Client  # type: ignore[assignment]  # a class attribute in Autobahn
    noisy = False

    def __init__(self, url: str, compress: str) -> None:
        super().__init__(url + (f"?v=10&encoding=json&compress={compress}"))
        self.setProtocolOptions(
            openHandshakeTimeout=0, closeHandshakeTimeout=0, autoPingInterval=0
        )
        self.compress, self.closed = compress, 0
        self.told: list[Any] = []
        self.link: Client | None = None
        inflater = zlib.decompressobj()
        unpacker = zstandard.ZstdDecompressor().decompressobj()
        self.inflate: Callable[[bytes], bytes] = {
            "": lambda data: data,
            "zlib-stream": inflater.decompress,
            "zstd-stream": unpacker.decompress,
        }[compress]

    def say(self, op: int, data: object) -> None:
        assert self.link is not None
        self.link.sendMessage(json.dumps({"op": op, "d": data}).encode())

    @property
    def names(self) -> list[str]:
        return [message["t"] for message in self.told if message["op"] == 0]

    def last(self, name: str) -> Any:
        return next(m["d"] for m in reversed(self.told) if m["t"] == name)


class Lab:
    """One simulator, and ways to talk to it."""

    def __init__(self, discord: SimulatedDiscord, trust: Any = None) -> None:
        self.discord, self.trust = discord, trust
        self._agent = Agent(
            reactor,
            BrowserLikePolicyForHTTPS(trustRoot=trust),
            pool=HTTPConnectionPool(reactor, persistent=False),
        )

    async def ask(
        self, method: str, path: str, body: object = None, token: str = "t"
    ) -> tuple[int, Any, Any]:
        """Give status, decoded body and headers."""
        base = self.discord.url.removesuffix("/api/v10")
        response = await treq.request(
            method,
            base + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bot {token}"},
            agent=self._agent,
        )
        content = await response.content()
        kind = response.headers.getRawHeaders("content-type", [""])[0]
        decoded = json.loads(content) if kind == "application/json" else content
        return response.code, decoded, response.headers

    async def rest(self, path: str, token: str = "t") -> tuple[int, Any, Any]:
        return await self.ask("GET", "/api/v10" + path, token=token)

    async def control(self, path: str, body: object, status: int = 200) -> Any:
        code, answer, _ = await self.ask("POST", "/_control" + path, body)
        assert code == status, answer
        return answer

    async def connect(
        self, compress: str = "", url: str | None = None
    ) -> ClientFactory:
        factory = ClientFactory(url or self.discord.gateway_url, compress)
        context = (
            None
            if self.trust is None
            else optionsForClientTLS("localhost", trustRoot=self.trust)
        )
        connectWS(factory, context)
        await until(lambda: factory.link)
        return factory

    async def identify(
        self, compress: str = "", intents: int = 129, shard: tuple[int, int] = (0, 1)
    ) -> ClientFactory:
        factory = await self.connect(compress)
        await until(lambda: factory.told)
        factory.say(2, {"token": "t", "intents": intents, "shard": shard})
        await until(lambda: "GUILD_CREATE" in factory.names)
        return factory

    async def resume(self, lost: ClientFactory) -> ClientFactory:
        ready = lost.last("READY")
        seq = max(message["s"] or 0 for message in lost.told)
        factory = await self.connect(lost.compress, ready["resume_gateway_url"])
        session = {"token": "t", "session_id": ready["session_id"], "seq": seq}
        factory.say(6, session)
        return factory

    @property
    def room(self) -> int:
        return self.discord.world.guilds[GUILD].rooms[0]


Start = Callable[..., Coroutine[Any, Any, Lab]]


@pytest_twisted.async_yield_fixture
async def start() -> AsyncIterator[Start]:
    """Start a simulator; it is stopped after the test."""
    running: list[SimulatedDiscord] = []

    async def begin(trust: Any = None, **options: Any) -> Lab:
        rules = Rules(token="t", identify_every_s=0, heartbeat_interval_s=30)
        options = {"guilds": [GUILD], "rules": rules} | options
        discord = SimulatedDiscord(reactor, **options)
        discord.startService()
        running.append(discord)
        await discord.listening()
        return Lab(discord, trust)

    yield begin
    for discord in running:
        await discord.stopService()


# -- REST ------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_gateway_bot_hands_out_the_hosts_own_name(start: Start) -> None:
    lab = await start()
    _, answer, headers = await lab.rest("/gateway/bot")
    assert answer["url"] == f"ws://127.0.0.1:{lab.discord.port}/gateway"
    assert answer["session_start_limit"]["remaining"] == 1000
    assert headers.getRawHeaders("x-ratelimit-remaining") == ["49"]


@pytest.mark.parametrize(
    ("rules", "shards"), [({}, 1), ({"shards": 3}, 3), ({"guilds_a_shard": 2}, 4)]
)
@pytest_twisted.ensureDeferred
async def test_gateway_bot_recommends_as_many_shards_as_the_guilds_need(
    start: Start, rules: dict[str, int], shards: int
) -> None:
    lab = await start(guilds=range(7), rules=Rules(max_concurrency=5, **rules))
    _, answer, _ = await lab.rest("/gateway/bot")
    assert answer["shards"] == shards
    assert answer["session_start_limit"]["max_concurrency"] == 5


@pytest_twisted.ensureDeferred
async def test_rest_answers_have_the_fields_of_discords_own(
    start: Start, fixture_data: Callable[[str], Any]
) -> None:
    lab = await start()
    owner = lab.discord.world.guilds[GUILD].owner
    lab.discord.voice(GUILD, owner, lab.room)
    for path, fixture in (
        ("/gateway/bot", "gateway_bot"),
        ("/users/@me", "users_me_bot"),
        (f"/guilds/{GUILD}?with_counts=true", "guild"),
        (f"/guilds/{GUILD}/voice-states/{owner}", "voice_state"),
    ):
        status, ours, _ = await lab.rest(path)
        assert status == 200
        assert ours.keys() == fixture_data(f"rest/{fixture}").keys()
    _, roles, _ = await lab.rest(f"/guilds/{GUILD}/roles")
    assert roles[0].keys() == fixture_data("rest/guild_roles")[0].keys()
    _, channels, _ = await lab.rest(f"/guilds/{GUILD}/channels")
    voices = [channel for channel in channels if channel["type"] == 2]
    theirs = next(c for c in fixture_data("rest/guild_channels") if c["type"] == 2)
    assert voices[0].keys() == theirs.keys()
    status, member, _ = await lab.rest(f"/guilds/{GUILD}/members/{owner}")
    assert member.keys() == fixture_data("rest/guild_member").keys()


@pytest_twisted.ensureDeferred
async def test_the_other_pages_of_rest_answer(start: Start) -> None:
    lab = await start()
    bot = lab.discord.world.bot.id
    for path in (
        "/gateway",
        f"/users/{bot}",
        "/users/@me/guilds",
        "/oauth2/applications/@me",
        "/applications/@me",
        f"/channels/{lab.room}",
        f"/guilds/{GUILD}/members?limit=2",
        f"/guilds/{GUILD}/scheduled-events",
    ):
        assert (await lab.rest(path))[0] == 200, path


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/guilds/1", 10004),
        (f"/guilds/{GUILD}/members/1", 10013),
        (f"/guilds/{GUILD}/voice-states/@me", 10065),
        ("/channels/1", 10003),
        ("/users/1", 10013),
        ("/nowhere", 0),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_not_there_is_a_404_with_discords_code(
    start: Start, path: str, code: int
) -> None:
    lab = await start()
    status, answer, _ = await lab.rest(path)
    assert (status, answer["code"]) == (404, code)


@pytest_twisted.ensureDeferred
async def test_a_wrong_token_is_a_401(start: Start) -> None:
    lab = await start()
    status, answer, _ = await lab.rest("/users/@me", token="wrong")
    assert (status, answer) == (401, {"message": "401: Unauthorized", "code": 0})


# -- the gateway -----------------------------------------------------------------


@pytest.mark.parametrize("compress", ["", "zlib-stream", "zstd-stream"])
@pytest_twisted.ensureDeferred
async def test_a_client_sees_joins_and_resumes_after_a_drop(
    start: Start, compress: str
) -> None:
    lab = await start()
    client = await lab.identify(compress)
    url = client.last("READY")["resume_gateway_url"]
    assert url == f"ws://127.0.0.1:{lab.discord.port}/gateway"
    order = {"guild": str(GUILD), "user": 5, "channel": str(lab.room)}
    assert await lab.control("/voice", order) == {"seq": 3}
    await until(lambda: "VOICE_STATE_UPDATE" in client.names)
    await lab.control("/fault", {"kind": "drop"})
    await until(lambda: client.closed == 1006)
    assert await lab.control("/voice", order | {"channel": None}) == {"seq": 4}
    again = await lab.resume(client)
    await until(lambda: "RESUMED" in again.names)
    assert again.names == ["VOICE_STATE_UPDATE", "RESUMED"]
    kinds = [entry["kind"] for entry in lab.discord.log()]
    assert kinds == [*("connect", "identify", "close", "connect", "resume", "resumed")]


@pytest_twisted.ensureDeferred
async def test_a_session_that_is_resumed_elsewhere_leaves_its_old_link(
    start: Start,
) -> None:
    lab = await start()
    old = await lab.identify("zlib-stream")
    new = await lab.resume(old)
    await until(lambda: old.closed == 4000)
    lab.discord.voice(GUILD, 5, lab.room)
    await until(lambda: new.names == ["RESUMED", "VOICE_STATE_UPDATE"])


@pytest_twisted.ensureDeferred
async def test_a_silent_client_is_timed_out(start: Start) -> None:
    lab = await start(rules=Rules(heartbeat_interval_s=0.1))
    client = await lab.identify()
    await until(lambda: client.closed == 4009)


@pytest_twisted.ensureDeferred
async def test_the_bot_moves_itself_and_is_told_so(start: Start) -> None:
    lab = await start()
    client = await lab.identify()
    client.say(4, {"guild_id": str(GUILD), "channel_id": str(lab.room)})
    await until(lambda: "VOICE_STATE_UPDATE" in client.names)
    bot = str(lab.discord.world.bot.id)
    assert lab.discord.state()["guilds"][str(GUILD)]["voice"] == {bot: str(lab.room)}


@pytest_twisted.ensureDeferred
async def test_a_stall_ends_with_its_connection_and_may_be_prolonged(
    start: Start,
) -> None:
    lab = await start()
    client = await lab.identify()
    lab.discord.fault("stall", seconds=60)
    lab.discord.fault("stall", seconds=60)
    lab.discord.voice(GUILD, 5, lab.room)
    lab.discord.fault("drop")
    await until(lambda: client.closed)
    again = await lab.resume(client)
    await until(lambda: again.names == ["VOICE_STATE_UPDATE", "RESUMED"])


@pytest.mark.parametrize("path", ["/gateway", "/gateway/", "/gateway/?v=10"])
@pytest_twisted.ensureDeferred
async def test_the_gateway_has_several_spellings(start: Start, path: str) -> None:
    lab = await start()
    factory = ClientFactory(lab.discord.gateway_url, "")
    factory.setSessionParameters(f"ws://127.0.0.1:{lab.discord.port}{path}")
    connectWS(factory)
    await until(lambda: factory.told)


@pytest_twisted.ensureDeferred
async def test_a_plain_request_to_the_gateway_is_told_to_upgrade(
    start: Start,
) -> None:
    lab = await start()
    assert (await lab.ask("GET", "/gateway"))[0] == 426


@pytest_twisted.ensureDeferred
async def test_a_client_that_is_closing_is_told_nothing_more(start: Start) -> None:
    lab = await start()
    client = await lab.identify()
    assert client.link is not None
    client.link.sendClose(4000)
    await until(lambda: lab.discord.log()[-1]["kind"] == "close")
    lab.discord.voice(GUILD, 5, lab.room)
    again = await lab.resume(client)
    await until(lambda: again.names == ["VOICE_STATE_UPDATE", "RESUMED"])
    assert lab.discord.log()[2]["code"] == 4000


@pytest_twisted.ensureDeferred
async def test_an_unknown_compression_is_refused(start: Start) -> None:
    lab = await start()
    factory = ClientFactory(lab.discord.gateway_url, "")
    factory.setSessionParameters(lab.discord.gateway_url + "?compress=brotli")
    connectWS(factory)
    await until(lambda: factory.closed == 4002)


@pytest_twisted.ensureDeferred
async def test_tls_is_served_by_an_authority_that_can_be_trusted(
    start: Start, tmp_path: Path
) -> None:
    certificate = write_certificate(tmp_path, lambda: datetime.now(UTC))
    trust = Certificate.loadPEM((tmp_path / "ca.pem").read_text())
    lab = await start(trust, certificate=certificate)
    _, answer, _ = await lab.rest("/gateway/bot")
    assert answer["url"] == f"wss://127.0.0.1:{lab.discord.port}/gateway"
    client = await lab.identify()
    assert client.last("READY")["resume_gateway_url"] == answer["url"]
    await lab.control("/fault", {"kind": "close", "code": 4000})
    await until(lambda: client.closed == 4000)


# -- faults ----------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 4000, 4009, 4014])
@pytest_twisted.ensureDeferred
async def test_a_close_has_the_code_that_was_asked_for(start: Start, code: int) -> None:
    lab = await start()
    client = await lab.identify()
    await lab.control("/fault", {"kind": "close", "code": code})
    await until(lambda: client.closed == code)


@pytest_twisted.ensureDeferred
async def test_op_7_and_op_9_are_sent_on_demand(start: Start) -> None:
    lab = await start()
    client = await lab.identify()
    await lab.control("/fault", {"kind": "reconnect"})
    await lab.control("/fault", {"kind": "invalid_session", "resumable": True})
    await until(lambda: client.told[-1]["op"] == 9)
    assert [message["op"] for message in client.told[-2:]] == [7, 9]
    assert client.told[-1]["d"] is True


@pytest_twisted.ensureDeferred
async def test_a_fault_may_befall_one_shard_alone(start: Start) -> None:
    lab = await start(guilds=[0, 1 << 22])
    lucky, unlucky = [await lab.identify(shard=(n, 2)) for n in (0, 1)]
    for kind in ("reconnect", "close"):
        await lab.control("/fault", {"kind": kind, "shard": 1})
    await until(lambda: unlucky.closed == 4000)
    assert unlucky.told[-1]["op"] == 7
    await lab.control("/fault", {"kind": "forget_sessions", "shard": 1})
    again = await lab.resume(unlucky)
    await until(lambda: again.told and again.told[-1]["op"] == 9)
    assert (lucky.closed, lucky.told[-1]["t"]) == (0, "GUILD_CREATE")


@pytest_twisted.ensureDeferred
async def test_a_zombie_is_silent_to_heartbeats_alone(start: Start) -> None:
    lab = await start()
    client = await lab.identify()
    await lab.control("/fault", {"kind": "zombie"})
    client.say(1, 2)
    await until(lambda: lab.discord.log()[-1]["kind"] == "heartbeat")
    lab.discord.voice(GUILD, 5, lab.room)
    await until(lambda: client.names[-1] == "VOICE_STATE_UPDATE")
    assert 11 not in [message["op"] for message in client.told]


@pytest_twisted.ensureDeferred
async def test_a_stalled_link_keeps_all_and_sends_it_later(start: Start) -> None:
    lab = await start()
    client = await lab.identify()
    before = len(client.told)
    await lab.control("/fault", {"kind": "stall", "seconds": 0.2})
    began = reactor.seconds()
    lab.discord.voice(GUILD, 5, lab.room)
    lab.discord.voice(GUILD, 5, None)
    await until(lambda: len(client.told) == before + 2)
    assert reactor.seconds() - began >= 0.19


@pytest_twisted.ensureDeferred
async def test_garbage_has_a_number_and_what_follows_still_comes(
    start: Start,
) -> None:
    lab = await start()
    client = await lab.identify()
    await lab.control("/fault", {"kind": "garbage", "count": 3})
    lab.discord.voice(GUILD, 5, lab.room)
    await until(lambda: len(client.names) == 6)
    assert [m["s"] for m in client.told if m["op"] == 0] == [1, 2, 3, 4, 5, 6]


@pytest_twisted.ensureDeferred
async def test_an_outage_ends_with_the_guild_as_it_is_then(start: Start) -> None:
    lab = await start()
    client = await lab.identify()
    await lab.control("/fault", {"kind": "outage", "guild": GUILD})
    lab.discord.voice(GUILD, 5, lab.room)
    await lab.control("/fault", {"kind": "outage_end"})
    await until(lambda: client.names.count("GUILD_CREATE") == 2)
    assert client.names[-2:] == ["GUILD_DELETE", "GUILD_CREATE"]
    assert client.last("GUILD_CREATE")["voice_states"][0]["user_id"] == "5"


@pytest_twisted.ensureDeferred
async def test_forgotten_sessions_get_op_9(start: Start) -> None:
    lab = await start()
    client = await lab.identify()
    await lab.control("/fault", {"kind": "forget_sessions"})
    await lab.control("/fault", {"kind": "drop"})
    await until(lambda: client.closed)
    again = await lab.resume(client)
    await until(lambda: again.told[-1:] and again.told[-1]["op"] == 9)
    assert again.told[-1]["d"] is False


@pytest_twisted.ensureDeferred
async def test_a_slow_hello_is_late_once(start: Start) -> None:
    lab = await start()
    await lab.control("/fault", {"kind": "slow_hello", "seconds": 0.2})
    began = reactor.seconds()
    slow = await lab.connect()
    fast = await lab.connect()
    await until(lambda: fast.told)
    assert not slow.told
    await until(lambda: slow.told)
    assert reactor.seconds() - began >= 0.19


@pytest_twisted.ensureDeferred
async def test_rest_fails_as_often_as_it_was_told(start: Start) -> None:
    lab = await start()
    limit = {"kind": "rate_limit", "route": "/gateway/bot", "count": 2, "seconds": 0.6}
    await lab.control("/fault", limit)
    status, answer, headers = await lab.rest("/gateway/bot")
    assert (status, answer["retry_after"], answer["global"]) == (429, 0.6, False)
    assert headers.getRawHeaders("retry-after") == ["1"]
    codes = [
        (await lab.rest(path))[0]
        for path in ("/users/@me", "/gateway/bot", "/gateway/bot")
    ]
    assert codes == [200, 429, 200]
    await lab.control("/fault", {"kind": "http_error", "route": "/guilds/*/channels"})
    assert (await lab.rest(f"/guilds/{GUILD}"))[0] == 200
    status, answer, _ = await lab.rest(f"/guilds/{GUILD}/channels")
    assert (status, answer[:6]) == (500, b"<html>")
    await lab.control("/fault", {"kind": "http_error", "code": 403})
    assert (await lab.rest("/users/@me"))[0] == 403


# -- controls --------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_the_state_is_what_the_controls_made_it(start: Start) -> None:
    lab = await start()
    made = await lab.control("/channels", {"guild": GUILD, "name": "new"})
    await lab.control("/guilds", {"id": "77", "members": 10, "inVoice": 3})
    everything = {
        "guild": str(GUILD),
        "user": "5",
        "channel": made["id"],
        "name": "zed",
        "bot": True,
    } | dict.fromkeys(("mute", "deaf", "selfMute", "selfDeaf", "selfStream"), True)
    await lab.control("/voice", everything)
    _, state, _ = await lab.ask("GET", "/_control/state")
    assert state["guilds"][str(GUILD)] == {"voice": {"5": made["id"]}}
    assert len(state["guilds"]["77"]["voice"]) == 3
    await lab.control("/voice", {"guild": GUILD, "user": 5, "mute": False})
    assert (await lab.ask("DELETE", f"/_control/channels/{made['id']}"))[0] == 200
    assert (await lab.ask("DELETE", "/_control/guilds/77"))[0] == 200
    _, state, _ = await lab.ask("GET", "/_control/state")
    assert state == {"guilds": {str(GUILD): {"voice": {}}}} == lab.discord.state()


@pytest_twisted.ensureDeferred
async def test_members_and_messages_reach_who_asked_for_them(start: Start) -> None:
    lab = await start()
    client = await lab.identify(intents=1 | 2 | 512)
    system = lab.discord.world.guilds[GUILD].system
    await lab.control("/members", {"guild": GUILD, "user": 5})
    await lab.control("/messages", {"channel": system, "user": 5, "content": "hi"})
    await lab.control("/members", {"guild": GUILD, "user": 5, "present": False})
    await until(lambda: "GUILD_MEMBER_REMOVE" in client.names)
    assert client.names[2:] == [
        "GUILD_MEMBER_ADD",
        "MESSAGE_CREATE",
        "GUILD_MEMBER_REMOVE",
    ]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/voice", {"guild": str(GUILD)}, "user"),
        ("/voice", {"guild": "x", "user": 1}, "guild"),
        ("/voice", {"guild": 1, "user": 1, "channel": None}, "guild"),
        ("/voice", {"guild": str(GUILD), "user": 1}, "channel"),
        ("/voice", {"guild": str(GUILD), "user": 1, "channel": 1}, "channel"),
        ("/voice", {"guild": str(GUILD), "user": 1, "mute": "yes"}, "mute"),
        ("/voice", {"guild": str(GUILD), "user": 1, "nonsense": 1}, "nonsense"),
        ("/guilds", {}, "id"),
        ("/guilds", {"id": str(GUILD)}, "id"),
        ("/channels", {"guild": str(GUILD), "type": 77}, "type"),
        ("/fault", {"kind": "nonsense"}, "kind"),
        ("/fault", {"kind": "close", "code": 5}, "code"),
        ("/fault", {"kind": "http_error", "code": 200}, "code"),
        ("/fault", {"kind": "http_error", "code": 999}, "code"),
        ("/fault", {"kind": "outage", "guild": 1}, "guild"),
        ("/fault", {"kind": "garbage", "count": 0}, "count"),
        ("/fault", {"kind": "stall", "seconds": -1}, "seconds"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_wrong_order_is_a_400_that_names_the_field(
    start: Start, path: str, body: object, field: str
) -> None:
    lab = await start()
    answer = await lab.control(path, body, status=400)
    assert answer["error"]["field"] == field


@pytest_twisted.ensureDeferred
async def test_what_is_no_json_or_no_control_is_said_so(start: Start) -> None:
    lab = await start()
    assert (await lab.ask("POST", "/_control/nothing", {}))[0] == 404
    assert (await lab.ask("GET", "/_control/voice"))[0] == 405
    assert (await lab.ask("GET", "/_control/log?since=x"))[0] == 400
    assert (await lab.ask("DELETE", "/_control/guilds/1"))[0] == 400
    response = await treq.post(
        f"{lab.discord.control_url}/voice", b"{", agent=lab._agent
    )
    assert (response.code, (await response.json())["error"]["field"]) == (400, "body")


@pytest_twisted.ensureDeferred
async def test_the_log_is_read_from_where_one_left_off(start: Start) -> None:
    lab = await start()
    await lab.rest("/users/@me")
    await lab.rest("/gateway/bot")
    _, first, _ = await lab.ask("GET", "/_control/log")
    _, rest, _ = await lab.ask("GET", "/_control/log?since=1")
    assert [entry["path"] for entry in first] == [
        "/api/v10/users/@me",
        "/api/v10/gateway/bot",
    ]
    assert rest == first[1:]


@pytest_twisted.ensureDeferred
async def test_people_come_and_go_on_their_own(start: Start) -> None:
    lab = await start(people=3, rate_per_s=200)
    seen: set[int] = set()

    def crowd() -> bool:
        seen.add(len(lab.discord.state()["guilds"][str(GUILD)]["voice"]))
        return {0, 1, 2} <= seen

    await until(crowd)
    assert lab.discord.people.running


@pytest_twisted.ensureDeferred
async def test_a_port_that_is_taken_is_an_error_of_listening(start: Start) -> None:
    from twisted.internet.endpoints import TCP4ServerEndpoint
    from twisted.internet.error import CannotListenError

    lab = await start()
    endpoint = TCP4ServerEndpoint(reactor, lab.discord.port, interface="127.0.0.1")
    second = SimulatedDiscord(reactor, endpoint)
    listening = second.listening()
    second.startService()
    with pytest.raises(CannotListenError):
        await listening
    with pytest.raises(CannotListenError):
        await second.listening()
    await second.stopService()
    assert second.port == 0
