"""What is kept of people: all of it is told, given to them, and erased."""

import ast
import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

import voicestatus
from voicestatus.community.roster import Roster
from voicestatus.core.guild import Voice
from voicestatus.core.presence import VoiceUpdated
from voicestatus.discord.rest.wire import OwnGuild
from voicestatus.store.documents import Put
from voicestatus.web.access import Access
from voicestatus.web.api.privacy import PrivacySubject
from voicestatus.web.audit import Audit
from voicestatus.web.privacy.kept import KEPT, NOTES, Of, Place
from voicestatus.web.privacy.traces import (
    ApiTokenTraces,
    AuditTraces,
    RosterTraces,
    RuleTraces,
    SessionTraces,
    Trace,
    VoiceTraces,
)

PACKAGE = Path(voicestatus.__file__).parent
ADA, BOB, GUILD, ROOM = 302, 3020, 101, 201


# ---- the table ---------------------------------------------------------------------


def kinds_in(path: Path) -> Iterator[str]:
    """Yield what a file names to the store as a kind.

    A name in small letters is an argument: what it stands for is named elsewhere.
    """
    source = path.read_text()
    names = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case (
                ast.Call(func=ast.Name("Typed"), args=[_, ast.Name(name), *_])
                | ast.Call(func=ast.Name("Put" | "Delete"), args=[ast.Name(name), *_])
                | ast.Call(
                    func=ast.Attribute(attr="list" | "blobs"), args=[ast.Name(name), *_]
                )
                | ast.Call(
                    func=ast.Attribute(attr="get" | "upload" | "blob"),
                    args=[ast.Name(name), _],
                )
            ) if name.isupper():
                names.add(name)
    if names:
        dotted = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        yield from (getattr(import_module(dotted), name) for name in names)


def test_all_that_is_stored_is_in_the_table_and_nothing_else():
    files = (f for f in PACKAGE.rglob("*.py") if "simulator" not in f.parts)
    stored = {
        kind for path in files for kind in kinds_in(path) if isinstance(kind, str)
    }
    assert stored == {kind for kept in KEPT for kind in kept.kinds}
    assert len(stored) > 15


def test_what_is_of_people_says_what_erasing_does_and_somebody_does_it(side: Any):
    for kept in KEPT:
        assert kept.erased or kept.of is not Of.PEOPLE
        assert bool(kept.kinds) is (kept.place is Place.STORE), kept.what
    of_people = {k for kept in KEPT if kept.erased for k in kept.kinds} | {"device"}
    erased = {kind for trace in traces_of(side) for kind in trace.kinds}
    assert erased == of_people - {"sign-in"}  # which names nobody


def test_the_docs_have_the_same_table():
    page = (PACKAGE.parent / "docs/privacy.md").read_text()
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")]
    told = {(row[0].removeprefix("| "), row[2].removesuffix(" |")) for row in rows}
    assert {(kept.what, kept.until) for kept in KEPT} <= told
    for kept in KEPT:
        assert kept.erased in page
    for note in NOTES:
        assert f"- {note}" in page


# ---- a person's own ----------------------------------------------------------------


def traces_of(side: Any) -> list[Trace]:
    (access,) = (part for part in side.admin if isinstance(part, Access))
    return [
        VoiceTraces(side.hub.presence),
        RuleTraces(side.devices),
        RosterTraces(Roster(side.store)),
        ApiTokenTraces(side.store),
        AuditTraces(side.store),
        SessionTraces(access.sessions),
    ]


@pytest.fixture
def people(discord_side: Any, serve: Any) -> Any:
    """Ada is in voice, an admin by Discord, and wherever one can be named."""
    side = discord_side
    audit = Audit(side.store, side.wall)
    side.ask_own = serve(
        side, PrivacySubject(traces_of(side), side.store, audit, side.wall)
    )
    voice = Voice(ADA, ROOM, name="Ada L.", avatar_url="https://cdn.discordapp.com/a")
    side.hub.apply(VoiceUpdated(GUILD, ADA, voice, bot=False))
    for user in (ADA, BOB):
        done(Roster(side.store).put("101", user, rank="officer"))
    side.sign("lamp")
    rule = {"users": [f"{ADA}", f"{BOB}"], "minCount": 1}
    assert side.ask("PATCH", "/devices/lamp", {"rule": rule}).status == 200
    side.sign("her-lamp")
    rule = {"users": [f"{ADA}"]}
    assert side.ask("PATCH", "/devices/her-lamp", {"rule": rule}).status == 200
    return side


def done(coroutine: Any) -> Any:
    return Deferred.fromCoroutine(coroutine).result


@pytest.fixture
def ada(people: Any, surf: Any, by_discord: Any, oauth: Any) -> Any:
    """Her browser; she has changed things."""
    oauth.their_guilds = (OwnGuild(GUILD, "G", owner=True, permissions=0),)
    surfer = surf(people)
    assert by_discord(surfer).status == 303
    new = {"name": "deploy", "scopes": ["read"]}
    assert surfer.write("POST", "/api/v1/tokens", new).status == 201
    return surfer


def documents(side: Any) -> str:
    kinds = {kind for kept in KEPT for kind in kept.kinds}
    found = [d for kind in sorted(kinds) for d in done(side.store.list(kind))]
    return "\n".join(f"{d.kind} {d.id} {d.parent} {d.body.decode()}" for d in found)


def test_one_is_given_all_that_is_kept_of_oneself(people: Any, ada: Any):
    got = ada.go("GET", "/own/privacy/export")
    assert got.status == 200
    assert got.headers["content-disposition"] == (
        'attachment; filename="voicestatus-302.json"'
    )
    kept = got.json["kept"]
    (voice,) = kept["voice"]
    assert (voice["name"], voice["channelId"]) == ("Ada L.", f"{ROOM}")
    assert kept["roster"] == [
        {"organization": "101", "rank": "officer", "manager": False}
    ]
    assert kept["rules"] == [{"sign": "her-lamp"}, {"sign": "lamp"}]
    (token,) = kept["apiTokens"]
    assert token["name"] == "deploy"
    (session,) = kept["sessions"]
    assert (session["name"], session["agent"]) == ("Ada L.", "Firefox")
    mine = [entry for entry in kept["audit"] if entry["by"] == "you"]
    assert {entry["action"] for entry in mine} == {"session.begin", "token.create"}
    assert mine[0]["address"] == "192.0.2.1"
    others = [entry for entry in kept["audit"] if entry["by"] != "you"]
    assert others
    assert all(set(entry) == {"at", "action", "by"} for entry in others)


def test_who_says_so_is_forgotten_and_nobody_else(people: Any, ada: Any):
    erased = ada.write("POST", "/own/privacy/erase", {"confirm": f"{ADA}"})
    assert erased.status == 200
    assert erased.json == {
        "erased": {
            "voice": 0,
            "rules": 2,
            "roster": 1,
            "apiTokens": 1,
            "audit": 4,
            "sessions": 1,
        },
        "remains": ["voice"],
    }
    assert not ada.jar
    left = documents(people)
    assert not re.search(rf"(?<![0-9]){ADA}(?![0-9])", left)
    assert "Ada" not in left
    assert f"{BOB}" in left
    # What was done is still known, and that somebody was forgotten.
    entries = people.ask("GET", "/audit").json["entries"]
    hers = [entry for entry in entries if entry["action"] != "device.change"]
    assert {entry["action"] for entry in hers} == {
        "privacy.erase",
        "token.create",
        "session.begin",
    }
    assert {(entry["actor"], entry["address"]) for entry in hers} == {
        ("session of user (erased)", "")
    }
    # A rule for nobody but her waits for nobody: not for everybody.
    assert people.ask("GET", "/devices/her-lamp").json["rule"] == {"users": ["1"]}
    assert people.ask("GET", "/devices/lamp").json["rule"] == {"users": [f"{BOB}"]}
    people.hub.apply(VoiceUpdated(GUILD, ADA, None, bot=False))
    again = people.ask_own("POST", "/privacy/erase", {"user": f"{ADA}"})
    assert (again.json["remains"], set(again.json["erased"].values())) == ([], {0})


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "VALIDATION_FAILED"),
        ({"confirm": f"{BOB}"}, 400, "VALIDATION_FAILED"),
        ({"confirm": "yes"}, 400, "VALIDATION_FAILED"),
        ({"confirm": f"{ADA}", "user": f"{BOB}"}, 400, "VALIDATION_FAILED"),
    ],
)
def test_nobody_is_forgotten_by_mistake(
    people: Any, ada: Any, body: Any, status: int, code: str
):
    before = documents(people)
    refused = ada.write("POST", "/own/privacy/erase", body)
    assert (refused.status, refused.code) == (status, code)
    unseen = ada.go("POST", "/own/privacy/erase", {"confirm": f"{ADA}"})
    assert (unseen.status, unseen.code) == (403, "CSRF_REFUSED")
    assert documents(people) == before


def test_a_guest_erases_and_is_given_nobody_but_themselves(
    people: Any, surf: Any, by_discord: Any
):
    guest = surf(people)
    by_discord(guest)
    other = guest.write("POST", "/own/privacy/erase", {"user": f"{BOB}"})
    assert (other.status, other.code) == (403, "FORBIDDEN")
    assert guest.go("GET", f"/own/privacy/export?user={BOB}").code == "FORBIDDEN"
    assert guest.go("GET", "/own/privacy/export").status == 200


def test_the_admin_token_is_nobody_on_discord(people: Any):
    assert people.ask_own("GET", "/privacy/export").code == "DISCORD_NOT_LINKED"
    known = people.ask_own("GET", f"/privacy/export?user={BOB}").json["kept"]
    assert [bool(known[name]) for name in ("roster", "rules")] == [True, True]


def test_what_only_looks_like_an_id_stays(people: Any, ada: Any):
    entries = people.ask("GET", "/audit").json
    for number in {"1", *re.findall("[1-9][0-9]*", entries["entries"][0]["at"])}:
        erased = people.ask_own("POST", "/privacy/erase", {"user": number}).json
        assert (erased["remains"], set(erased["erased"].values())) == ([], {0})
    later = people.ask("GET", "/audit").json["entries"]
    assert entries["entries"] == [e for e in later if e["action"] != "privacy.erase"]


def test_what_is_kept_anybody_may_read(people: Any):
    told = people.ask_own("GET", "/privacy", token=None).json
    assert len(told["kept"]) == len(KEPT)
    assert "Signs learn nothing" in told["notes"][0]


def test_what_somebody_writes_meanwhile_is_not_lost(people: Any, ada: Any):
    store, write = people.store, people.store.write

    async def raced(*changes: Any, fence: Any = None) -> int:
        store.write = write
        (mine,) = changes
        token = json.loads((await store.get("api-token", mine.id)).body)
        await write(
            Put("api-token", mine.id, json.dumps(token | {"used_at": 5.0}).encode())
        )
        return await write(*changes)

    store.write = raced
    assert done(ApiTokenTraces(store).erase(ADA)) == 1
    (kept,) = done(store.list("api-token"))
    token = json.loads(kept.body)
    assert (token["used_at"], token["made_by"]) == (5.0, "session of user (erased)")
