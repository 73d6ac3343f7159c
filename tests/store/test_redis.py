"""What only a server can be: away, stuck, full, a replica, loading, or a stranger."""

import signal
import socket
import time
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred, gatherResults

from voicestatus.core.errors import StoreError
from voicestatus.core.storage_address import parse
from voicestatus.store.documents import (
    SLICE,
    Delete,
    FateUnknown,
    Put,
    VersionConflict,
)
from voicestatus.store.redis import RedisStore

CALL_LIMIT_S = 0.4


@pytest_twisted.async_yield_fixture
async def start_impatient():
    """Start Redis stores that wait for an answer for a short while only."""
    from twisted.internet import reactor

    stores: list[RedisStore] = []

    def start(url: str) -> RedisStore:
        stores.append(RedisStore(parse(url), reactor, call_limit_s=CALL_LIMIT_S))
        stores[-1].startService()
        return stores[-1]

    yield start
    for store in stores:
        await store.stopService()


@pytest_twisted.ensureDeferred
async def test_what_was_written_survives_kill_9_and_the_store_comes_back_by_itself(
    make_redis, start_url, eventually
):
    server = make_redis()
    server.start()
    store = start_url(server.url)
    version = await store.put("sign", "a", b"one")
    server.kill()
    with pytest.raises(StoreError, match=f"127.0.0.1:{server.port}"):
        await store.put("sign", "a", b"two", expected=0)
    await eventually(lambda: "is out of reach" in str(store.problem))
    server.start()
    await eventually(lambda: store.problem is None)
    document = await store.get("sign", "a")
    assert (document.version, document.body) == (version, b"one")


@pytest_twisted.ensureDeferred
async def test_a_store_starts_while_redis_is_away_and_works_when_it_is_there(
    make_redis, start_url, eventually
):
    server = make_redis()
    store = start_url(server.url)
    with pytest.raises(StoreError, match="is out of reach"):
        await store.get("sign", "a")
    assert "is out of reach" in store.problem
    server.start()
    await eventually(lambda: store.problem is None)
    await store.put("sign", "a", b"one")


@pytest_twisted.ensureDeferred
async def test_while_redis_is_away_calls_fail_at_once_and_none_is_done_later(
    make_redis, start_url, eventually
):
    server = make_redis()
    server.start()
    store = start_url(server.url)
    await store.put("sign", "a", b"one")
    server.kill()
    await eventually(lambda: store.problem is not None)
    for number in range(200):
        with pytest.raises(StoreError):
            await store.put("sign", str(number), b"queued")
    server.start()
    await eventually(lambda: store.problem is None)
    assert [document.id for document in await store.list("sign")] == ["a"]


@pytest_twisted.ensureDeferred
async def test_a_write_without_an_answer_is_told_as_one_whose_fate_is_unknown(
    make_redis, start_impatient, eventually
):
    server = make_redis()
    server.start()
    store = start_impatient(server.url)
    await store.put("sign", "a", b"one")
    server.send(signal.SIGSTOP)
    puts = [
        Deferred.fromCoroutine(store.put("sign", "a", body))
        for body in (b"two", b"three")
    ]
    with pytest.raises(FateUnknown, match=r"within 0\.4 s; a write may have happened"):
        await puts[0]
    with pytest.raises(FateUnknown, match="may have happened"):
        await puts[1]
    assert "may have happened" in store.problem
    # The next connection is taken by the system, and nobody answers on it.
    with pytest.raises(StoreError, match="did not answer within"):
        await store.get("sign", "a")
    server.send(signal.SIGCONT)
    await eventually(lambda: store.problem is None)
    # It did happen: Redis had the bytes, and woke up.
    document = await store.get("sign", "a")
    assert document.body == b"three"


@pytest_twisted.ensureDeferred
async def test_a_full_redis_is_told_until_it_has_room_and_keeps_what_it_has(
    make_redis, start_url, eventually
):
    server = make_redis()
    server.start()
    store = start_url(server.url)
    await store.put("sign", "a", b"one")
    server.ask("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(StoreError, match="is full; raise its maxmemory"):
        await store.put("sign", "a", b"two")
    document = await store.get("sign", "a")
    assert document.body == b"one"
    assert "is full" in store.problem  # a read that works does not mend a write
    server.ask("CONFIG", "SET", "maxmemory", "0")
    await eventually(lambda: store.problem is None)
    await store.put("sign", "a", b"two")


@pytest_twisted.ensureDeferred
async def test_a_batch_that_deletes_and_puts_is_whole_or_absent_when_memory_ends(
    make_redis, start_url
):
    server = make_redis()
    server.start()
    store = start_url(server.url)
    await store.put("sign", "a", b"one", parent="home")
    server.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        await store.write(Delete("sign", "a"), Put("sign", "b", b"two"))
    except StoreError:
        expected = ["a"]
    else:
        expected = ["b"]
    assert [document.id for document in await store.list("sign")] == expected
    server.ask("CONFIG", "SET", "maxmemory", "0")


@pytest_twisted.ensureDeferred
async def test_a_replica_is_told_as_one(make_redis, start_url):
    master, replica = make_redis(), make_redis()
    master.start()
    replica.start("--replicaof", "127.0.0.1", str(master.port))
    store = start_url(replica.url)
    with pytest.raises(StoreError, match="is a replica and takes no writes"):
        await store.put("sign", "a", b"one")
    assert await store.get("sign", "a") is None
    assert "is a replica" in store.problem


@pytest_twisted.ensureDeferred
async def test_a_master_that_became_a_replica_is_left_for_whom_its_name_leads_to(
    make_redis, start_url, eventually
):
    server = make_redis()
    server.start()
    store = start_url(server.url)
    await store.put("sign", "a", b"one")
    before = clients(server)
    server.ask("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(StoreError, match="is a replica"):
        await store.put("sign", "a", b"two")
    await eventually(lambda: clients(server) and not clients(server) & before)
    server.ask("REPLICAOF", "NO", "ONE")
    await until_written(store, Put("sign", "a", b"three"))


@pytest_twisted.ensureDeferred
async def test_a_missing_or_wrong_password_is_told_and_a_mended_one_is_taken(
    make_redis, start_url, eventually, everything_logged
):
    server = make_redis("--requirepass", "sesame")
    server.start()
    without = start_url(server.url)
    with pytest.raises(StoreError, match="wants a password; put it into STORAGE_URL"):
        await without.get("sign", "a")
    wrong = start_url(f"redis://:Hunter2@127.0.0.1:{server.port}")
    with pytest.raises(StoreError, match="refuses the user or the password"):
        await wrong.get("sign", "a")
    server.kill()
    server.start("--requirepass", "Hunter2")
    await eventually(lambda: wrong.problem is None)
    await wrong.put("sign", "a", b"one")
    assert everything_logged
    assert not any("Hunter2" in line for line in everything_logged)


@pytest_twisted.ensureDeferred
async def test_no_password_is_shown_even_where_redis_repeats_it(
    make_redis, start_url, everything_logged
):
    server = make_redis("--rename-command", "AUTH", "LOGIN")
    server.start()
    assert b"Hunter2" in server.ask("AUTH", "Hunter2")
    store = start_url(f"redis://:Hunter2@127.0.0.1:{server.port}")
    with pytest.raises(StoreError) as refused:
        await store.get("sign", "a")
    assert not any("Hunter2" in line for line in [str(refused.value), store.problem])
    assert not any("Hunter2" in line for line in everything_logged)


@pytest_twisted.ensureDeferred
async def test_a_user_who_may_do_too_little_is_told_so(make_redis, start_url, tmp_path):
    server = make_redis()
    acl = tmp_path / "users.acl"
    acl.write_text("user default off\nuser me on >pw ~* +@all -evalsha\n")
    server.start("--aclfile", str(acl))
    store = start_url(f"redis://me:pw@127.0.0.1:{server.port}")
    with pytest.raises(StoreError, match="does not let this user do all that is need"):
        await store.put("sign", "a", b"one")


@pytest_twisted.ensureDeferred
async def test_a_redis_that_loads_its_data_is_told_as_such_and_waited_for(
    make_redis, start_url, eventually
):
    server = make_redis()
    server.start()
    store = start_url(server.url)
    await gatherResults(
        Deferred.fromCoroutine(store.put("sign", str(number), b"x" * 100))
        for number in range(300)
    )
    server.kill()
    server.start(
        *("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
    )
    problems: set[str] = set()

    def told_then_well() -> bool:
        problems.add(str(store.problem))
        return store.problem is None and len(problems) > 1

    await eventually(told_then_well)
    assert any("is still loading its data" in problem for problem in problems)
    assert len(await store.list("sign")) == 300


@pytest_twisted.ensureDeferred
async def test_a_certificate_that_nobody_vouches_for_is_refused(
    redis_with_tls, start_url
):
    store = start_url(f"rediss://127.0.0.1:{redis_with_tls.port}")
    with pytest.raises(StoreError, match="certificate verify failed"):
        await store.put("sign", "a", b"one")


@pytest_twisted.ensureDeferred
async def test_a_file_of_certificates_that_is_missing_is_named(
    redis_with_tls, start_url, tmp_path
):
    url = f"rediss://127.0.0.1:{redis_with_tls.port}?cafile={tmp_path}/none.pem"
    with pytest.raises(StoreError, match=r"none\.pem"):
        await start_url(url).get("sign", "a")


@pytest_twisted.ensureDeferred
async def test_plain_talk_to_a_port_with_tls_ends_with_a_word(
    redis_with_tls, start_url
):
    store = start_url(redis_with_tls.url)
    with pytest.raises(StoreError, match="closed the connection"):
        await store.get("sign", "a")


@pytest_twisted.ensureDeferred
async def test_scripts_that_redis_forgot_are_sent_again(make_redis, start_url):
    server = make_redis()
    server.start()
    store = start_url(server.url)
    await store.put("sign", "a", b"one")
    server.ask("SCRIPT", "FLUSH")
    await store.put("sign", "a", b"two")
    document = await store.get("sign", "a")
    assert document.body == b"two"


@pytest_twisted.ensureDeferred
async def test_a_connection_that_the_operator_kills_is_made_again(
    make_redis, start_url
):
    server = make_redis()
    server.start()
    store = start_url(server.url)
    await store.put("sign", "a", b"one")
    server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await until_written(store, Put("sign", "a", b"two"))
    document = await store.get("sign", "a")
    assert document.body == b"two"


@pytest_twisted.ensureDeferred
async def test_a_redis_that_may_throw_documents_away_is_warned_about(
    make_redis, start_url, everything_logged
):
    limits = "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru"
    server = make_redis(*limits, "--appendonly", "no")
    server.start()
    store = start_url(server.url)
    await store.get("sign", "a")
    (_, policy), (_, log) = store.risks
    assert policy == "Set maxmemory-policy to noeviction (it is allkeys-lru)"
    assert log == "Set appendonly to yes"
    for remedy in (policy, log):
        assert any(remedy in line for line in everything_logged)


@pytest_twisted.ensureDeferred
async def test_a_redis_that_is_set_as_it_should_be_has_no_risks(redis, start_url):
    store = start_url(redis.url)
    await store.get("sign", "a")
    assert store.risks == ()


@pytest_twisted.ensureDeferred
async def test_versions_of_a_redis_that_comes_back_empty_are_higher_than_before(
    make_redis, start_url
):
    server = make_redis()
    server.start()
    store = start_url(server.url)
    before = 0
    for _ in range(50):
        before = await store.put("sign", "a", b"one")
    server.ask("FLUSHALL")
    assert await store.put("sign", "a", b"one") > before


@pytest_twisted.ensureDeferred
async def test_a_replica_that_lacks_the_last_batches_gives_out_no_number_again(
    redis, start_url
):
    store = start_url(f"{redis.url}?prefix=lags:")
    await store.put("sign", "a", b"one")
    behind = await store.put("sign", "a", b"two")
    lost = await store.put("sign", "a", b"three")
    redis.ask("SET", "lags:version", str(behind))
    assert await store.put("sign", "a", b"four") > lost
    with pytest.raises(VersionConflict):
        await store.put("sign", "a", b"late", expected=lost)


@pytest_twisted.ensureDeferred
async def test_a_store_that_stops_tells_who_waits_and_has_no_problem(
    start_url, everything_logged
):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = start_url(f"redis://127.0.0.1:{silent.getsockname()[1]}")
        waiting = [Deferred.fromCoroutine(store.get("sign", "a")) for _ in range(3)]
        await store.stopService()
    for call in waiting:
        with pytest.raises(StoreError, match="the store is not open"):
            await call
    assert store.problem is None
    assert not everything_logged


@pytest_twisted.ensureDeferred
async def test_of_many_calls_that_wait_for_a_connection_none_comes_before_another(
    redis, start_url
):
    store = start_url(f"{redis.url}?prefix=many:")
    given_up = Deferred.fromCoroutine(store.put("sign", "a", b"given up"))
    puts = [
        Deferred.fromCoroutine(store.put("sign", "a", b"%d" % number))
        for number in range(3000)
    ]
    given_up.cancel()
    with pytest.raises(CancelledError):
        await given_up
    versions = await gatherResults(puts)
    assert versions == sorted(set(versions))
    assert (await store.get("sign", "a")).body == b"2999"


class Counting(RedisStore):
    pauses = 0

    async def pause(self) -> None:
        self.pauses += 1
        await super().pause()


@pytest_twisted.ensureDeferred
async def test_others_have_their_turn_while_a_long_list_is_read(redis):
    from twisted.internet import reactor

    store = Counting(parse(f"{redis.url}?prefix=long:"), reactor)
    store.startService()
    many = 3 * SLICE
    await store.write(*(Put("sign", str(n), b"", "p") for n in range(many)))
    for parent in (None, "p"):
        store.pauses = 0
        assert len(await store.list("sign", parent)) == many
        assert store.pauses == 3
    await store.stopService()


@pytest_twisted.ensureDeferred
async def test_what_nobody_finishes_expires(redis, start_url):
    store = start_url(f"{redis.url}?prefix=expires:")
    upload = store.upload("image", "a")
    await upload.append(b"x" * 100_000)
    number = (await upload.settle()).content
    answer = redis.ask("TTL", f"expires:u:{number}")
    assert 3500 < int(answer[1:]) <= 3600
    await upload.finish()
    assert redis.ask("TTL", f"expires:b:{number}") == b":-1\r\n"


@pytest_twisted.ensureDeferred
async def test_two_stores_with_other_prefixes_share_nothing(redis, start_url):
    one = start_url(f"{redis.url}?prefix=one:")
    two = start_url(f"{redis.url}?prefix=two:")
    await one.put("sign", "a", b"one")
    assert await two.get("sign", "a") is None
    assert (await two.picture()).documents == ()


@pytest_twisted.ensureDeferred
async def test_sentinels_name_the_master_and_a_new_one_when_it_dies(
    make_redis, start_url, eventually
):
    master, replica, sentinel = make_redis(), make_redis(), make_redis()
    master.start()
    replica.start("--replicaof", "127.0.0.1", str(master.port))
    conf = Path(sentinel.folder) / "sentinel.conf"
    conf.write_text(
        f"port {sentinel.port}\nbind 127.0.0.1\ndir {sentinel.folder}\n"
        f"sentinel monitor lights 127.0.0.1 {master.port} 1\n"
        "sentinel down-after-milliseconds lights 500\n"
        "sentinel failover-timeout lights 2000\n"
    )
    sentinel.start_with(str(conf), "--sentinel")
    await eventually(lambda: b"slave0:" in replica_info(master))
    url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel.port}/lights"
    store = start_url(url)
    await store.put("sign", "a", b"one")
    await eventually(lambda: b"num-slaves\r\n$1\r\n1" in masters(sentinel))
    await eventually(lambda: replica.ask("EXISTS", "voicestatus:version")[1:2] == b"1")
    master.kill()
    await eventually(lambda: b"role:master" in replica_info(replica), 40)
    await eventually(lambda: store.problem is None)
    await until_written(store, Put("sign", "b", b""))
    document = await store.get("sign", "a")
    assert document.body == b"one"
    unknown = start_url(f"redis+sentinel://127.0.0.1:{sentinel.port}/other")
    with pytest.raises(StoreError, match=r"no Sentinel at .* knows 'other'"):
        await unknown.get("sign", "a")


async def until_written(store, change: Put, within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while True:
        try:
            await store.write(change)
        except StoreError:
            assert time.monotonic() < deadline
        else:
            return


def replica_info(server) -> bytes:
    try:
        return server.ask("INFO", "replication")
    except ConnectionError:  # whoever becomes master ends what is connected
        return b""


def clients(server) -> set[bytes]:
    """Return the numbers of the connections, but for the one that asks."""
    told = server.ask("CLIENT", "LIST", "TYPE", "normal")
    lines = (line for line in told.splitlines() if b"cmd=client" not in line)
    return {line.split(b" ")[0] for line in lines if b"id=" in line}


def masters(server) -> bytes:
    return server.ask("SENTINEL", "MASTER", "lights")
