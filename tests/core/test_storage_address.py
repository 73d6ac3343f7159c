"""What an address of a store may look like, and what of it is secret."""

import pytest

from voicestatus.core.storage_address import (
    InFile,
    InMemory,
    InRedis,
    parse,
    secrets_of,
)


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("memory:", InMemory()),
        ("sqlite:voicestatus.db", InFile("voicestatus.db")),
        ("sqlite:/data/voicestatus.db", InFile("/data/voicestatus.db")),
        ("redis://db", InRedis((("db", 6379),))),
        ("redis://[::1]:7000/4", InRedis((("::1", 7000),), db=4)),
        ("redis://:pw@db", InRedis((("db", 6379),), password="pw")),
        (
            "redis://me:p%40w%2F@db:7000/1?prefix=vs:",
            InRedis(
                (("db", 7000),), username="me", password="p@w/", db=1, prefix="vs:"
            ),
        ),
        (
            "rediss://db?cafile=/etc/ca.pem",
            InRedis((("db", 6379),), tls=True, cafile="/etc/ca.pem"),
        ),
        (
            "redis+sentinel://one,two:7000/lights/2",
            InRedis((("one", 26379), ("two", 7000)), service="lights", db=2),
        ),
        (
            "rediss+sentinel://me:pw@one/lights",
            InRedis(
                (("one", 26379),),
                service="lights",
                tls=True,
                username="me",
                password="pw",
            ),
        ),
    ],
)
def test_each_kind_of_address_is_understood(url: str, where: object):
    assert parse(url) == where


@pytest.mark.parametrize(
    "url",
    [
        "",
        "memory:x",
        "sqlite:",
        "sqlite://x",
        "redis:",
        "redis:db",
        "redis://",
        "redis://:secret@",
        "redis://me@db",
        "redis://db:0",
        "redis://db:99999",
        "redis://db:port",
        "redis://me:secret/with-a-slash@db",
        "redis://db/name",
        "redis://db/0/1",
        "redis://db/-1",
        "redis://db?cafile=/ca.pem",
        "redis://db?secret=1",
        "redis://db?prefix",
        "redis://db#secret",
        "redis://one,two/0",
        "rediss://db?cafile=",
        "redis+sentinel://one",
        "redis+sentinel:///lights",
        "redis+sentinel://one,/lights",
        "redis+sentinel://one/lights/x",
        "http://db",
    ],
)
def test_what_names_no_store_is_refused_and_not_repeated(url: str):
    with pytest.raises(ValueError, match=r".*") as refused:
        parse(url)
    assert "secret" not in str(refused.value)


def test_a_password_is_secret_as_meant_and_as_written():
    url = "redis://me:p%40ss@db"
    assert set(secrets_of(url)) == {"p@ss", "p%40ss"}
    assert "p@ss" not in repr(parse(url))
    assert secrets_of("redis://db") == secrets_of("sqlite:x") == ()
