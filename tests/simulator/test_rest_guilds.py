"""Members, their roles, and scheduled events by REST."""

import json
from datetime import timedelta

import pytest

from voicestatus.simulator import intents
from voicestatus.simulator.payloads import Overwrite

VIEW, CONNECT, MANAGE_ROLES = 1 << 10, 1 << 20, 1 << 28
CREATE_EVENTS, MANAGE_EVENTS = 1 << 44, 1 << 33
STAGE_RIGHTS = 1 << 4 | 1 << 22 | 1 << 24
IN_A_DAY = "2026-11-22T10:00:00+00:00"


def code(answer):
    status, said = answer
    return status, said["code"]


def role(api, name):
    return next(each for each in api.home.roles if each.name == name).id


# -- members -----------------------------------------------------------------------


def test_members_are_listed_by_their_ids(api):
    path = f"/guilds/{api.home.id}/members"
    _, first = api.ask("GET", path + "?limit=2")
    users = sorted(api.home.members)
    assert [int(member["user"]["id"]) for member in first] == users[:2]
    _, rest = api.ask("GET", f"{path}?limit=1000&after={users[1]}")
    assert [int(member["user"]["id"]) for member in rest] == users[2:]


def test_without_the_members_intent_they_are_not_listed(make_api):
    api = make_api(disallowed_intents=intents.GUILD_MEMBERS)
    assert code(api.ask("GET", f"/guilds/{api.home.id}/members")) == (403, 50001)
    bot = api.world.bot.id
    assert api.ask("GET", f"/guilds/{api.home.id}/members/{bot}")[0] == 200


def test_a_role_is_given_and_taken_and_told(api):
    user, dj = api.home.owner, role(api, "DJ")
    before = api.home.members[user].roles
    path = f"/guilds/{api.home.id}/members/{user}/roles/{dj}"
    assert api.ask("PUT", path)[0] == 204
    assert api.ask("PUT", path)[0] == 204  # again: nothing changes, nothing is told
    assert api.home.members[user].roles == (*before, dj)
    assert api.ask("DELETE", path)[0] == 204
    assert api.home.members[user].roles == before
    assert api.told == ["GUILD_MEMBER_UPDATE"] * 2
    assert str(dj) in json.loads(api.published[0].body)["roles"]


@pytest.mark.parametrize("name", ["Mods", "voicestatus", "@everyone"])
def test_a_role_that_is_not_below_the_bots_own_is_refused(api, name):
    path = f"/guilds/{api.home.id}/members/{api.home.owner}/roles/{role(api, name)}"
    assert code(api.ask("PUT", path)) == (403, 50013)


def test_giving_roles_needs_manage_roles(make_api):
    for may, status in ((VIEW, 403), (VIEW | MANAGE_ROLES, 204)):
        api = make_api(may)
        path = f"/guilds/{api.home.id}/members/{api.home.owner}/roles/{role(api, 'DJ')}"
        assert api.ask("PUT", path)[0] == status


def test_an_unknown_role_or_member_is_told_apart(api):
    path = f"/guilds/{api.home.id}/members"
    assert code(api.ask("PUT", f"{path}/{api.home.owner}/roles/1")) == (404, 10011)
    assert code(api.ask("PUT", f"{path}/1/roles/1")) == (404, 10013)
    api.world.add_guild(77)
    api.world.meet(77, 5)
    assert code(api.ask("GET", f"{path}/5")) == (404, 10007)


def test_a_voice_state_where_the_bot_may_not_connect_is_not_shown(api):
    lounge = api.room("Lounge")
    api.world.join(api.home.id, api.home.owner, lounge.id)
    path = f"/guilds/{api.home.id}/voice-states/{api.home.owner}"
    assert api.ask("GET", path)[0] == 200
    lounge.overwrites = (Overwrite(api.home.id, deny=CONNECT),)
    api.let_the_bot(VIEW | CONNECT)
    assert code(api.ask("GET", path)) == (403, 50001)


# -- scheduled events --------------------------------------------------------------


def in_voice(api, **more):
    return {
        "name": "Listening party",
        "privacy_level": 2,
        "scheduled_start_time": IN_A_DAY,
        "entity_type": 2,
        "channel_id": str(api.room("Lounge").id),
    } | more


def outside(**more):
    return {
        "name": "Pier meetup",
        "privacy_level": 2,
        "scheduled_start_time": IN_A_DAY,
        "scheduled_end_time": "2026-11-22T12:00:00+00:00",
        "entity_type": 3,
        "entity_metadata": {"location": "Pier 7"},
    } | more


def path(api, event=""):
    return f"/guilds/{api.home.id}/scheduled-events{event and '/'}{event}"


@pytest.mark.parametrize("where", ["voice", "external"])
def test_an_event_has_the_fields_of_discords_own(api, fixture_data, where):
    order = in_voice(api) if where == "voice" else outside()
    status, ours = api.ask("POST", path(api), order)
    theirs = fixture_data(f"rest/scheduled_event_create_{where}")
    assert status == 200
    assert ours.keys() == theirs.keys()
    assert ours["entity_metadata"] == theirs["entity_metadata"]
    assert ours["scheduled_start_time"] == IN_A_DAY


def test_an_event_is_told_changed_begun_and_ended(api):
    event = api.ask("POST", path(api), in_voice(api))[1]["id"]
    assert api.ask("PATCH", path(api, event), {"name": "Party"})[1]["name"] == "Party"
    assert api.ask("PATCH", path(api, event), {"status": 2})[1]["status"] == 2
    assert api.ask("GET", path(api, event))[1]["status"] == 2
    assert len(api.ask("GET", path(api))[1]) == 1
    assert api.ask("PATCH", path(api, event), {"status": 3})[1]["status"] == 3
    assert api.ask("GET", path(api)) == (200, [])
    assert code(api.ask("PATCH", path(api, event), {"name": "x"})) == (400, 180000)
    update = "GUILD_SCHEDULED_EVENT_UPDATE"
    assert api.told == ["GUILD_SCHEDULED_EVENT_CREATE", update, update, update]


def test_a_deleted_event_is_unknown(api):
    event = api.ask("POST", path(api), outside())[1]["id"]
    assert api.ask("DELETE", path(api, event))[0] == 204
    assert code(api.ask("GET", path(api, event))) == (404, 10070)
    assert api.told[-1] == "GUILD_SCHEDULED_EVENT_DELETE"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"scheduled_start_time": "2026-11-21T09:00:00Z"}, "scheduled_start_time"),
        ({"scheduled_end_time": "2026-11-22T09:00:00Z"}, "scheduled_end_time"),
        ({"scheduled_end_time": None}, "scheduled_end_time"),
        ({"entity_metadata": None}, "entity_metadata"),
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"scheduled_start_time": "tomorrow"}, "scheduled_start_time"),
    ],
)
def test_an_impossible_event_is_refused_and_the_field_named(api, change, field):
    status, said = api.ask("POST", path(api), outside(**change))
    assert (status, said["code"]) == (400, 50035)
    assert list(said["errors"]) == [field]
    assert api.told == []


def test_a_refused_change_changes_nothing(api):
    event = api.ask("POST", path(api), in_voice(api))[1]["id"]
    change = {"name": "x", "channel_id": str(api.room("general").id)}
    assert code(api.ask("PATCH", path(api, event), change)) == (400, 50024)
    assert api.ask("GET", path(api, event))[1]["name"] == "Listening party"


def test_the_start_of_what_has_begun_is_not_changed(api):
    event = api.ask("POST", path(api), in_voice(api))[1]["id"]
    api.ask("PATCH", path(api, event), {"status": 2})
    change = {"scheduled_start_time": IN_A_DAY}
    _, said = api.ask("PATCH", path(api, event), change)
    (error,) = said["errors"]["scheduled_start_time"]["_errors"]
    assert error["code"] == "GUILD_SCHEDULED_EVENT_INVALID_START_BY_STATUS"


@pytest.mark.parametrize(
    ("may", "kind", "allowed"),
    [
        (VIEW | CONNECT | CREATE_EVENTS, "Lounge", True),
        (VIEW | CREATE_EVENTS, "Lounge", False),
        (VIEW | CONNECT | MANAGE_EVENTS, "Lounge", False),
        (CREATE_EVENTS, None, True),
        (MANAGE_EVENTS, None, False),
        (VIEW | CONNECT | CREATE_EVENTS, "Town Hall", False),
        (VIEW | CONNECT | CREATE_EVENTS | STAGE_RIGHTS, "Town Hall", True),
    ],
)
def test_making_an_event_needs_its_permissions(make_api, may, kind, allowed):
    api = make_api(may)
    order = outside()
    if kind is not None:
        room = api.room(kind)
        order = in_voice(api, channel_id=str(room.id))
        order["entity_type"] = 1 if room.type == 13 else 2
    status, _ = api.ask("POST", path(api), order)
    assert status == (200 if allowed else 403)


@pytest.mark.parametrize(
    ("first", "then", "allowed"),
    [(2, 3, True), (4, 2, False), (3, None, False), (2, 4, False), (2, 2, True)],
)
def test_a_status_follows_only_its_own(api, first, then, allowed):
    event = api.ask("POST", path(api), outside())[1]["id"]
    codes = [
        api.ask("PATCH", path(api, event), {"status": status})[0]
        for status in (first, then)
        if status is not None
    ]
    assert (codes[-1] == 200) == allowed


def test_an_event_needs_a_channel_that_is_there(api):
    refused = api.ask("POST", path(api), in_voice(api, channel_id="1"))
    assert code(refused) == (404, 10003)


def test_the_event_of_a_deleted_channel_is_not_shown(api):
    api.ask("POST", path(api), in_voice(api))
    api.world.remove_channel(api.room("Lounge").id)
    assert api.ask("GET", path(api)) == (200, [])


def test_a_guild_has_a_hundred_open_events_at_most(api):
    for _ in range(25):
        for _ in range(4):
            assert api.ask("POST", path(api), outside())[0] == 200
        api.clock.advance(timedelta(minutes=1).total_seconds())
    assert code(api.ask("POST", path(api), outside())) == (400, 30038)
