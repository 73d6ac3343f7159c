"""Messages and invites by REST."""

import json

import pytest

from voicestatus.simulator import intents, permissions
from voicestatus.simulator.invites import Terms
from voicestatus.simulator.payloads import Overwrite

VIEW, CONNECT, SEND, LINKS, HISTORY = 1 << 10, 1 << 20, 1 << 11, 1 << 14, 1 << 16
INVITE, MANAGE = 1 << 0, 1 << 4


def messages(api, name="general"):
    return f"/channels/{api.room(name).id}/messages"


def invites(api, name="general"):
    return f"/channels/{api.room(name).id}/invites"


def code(answer):
    status, said = answer
    return status, said["code"]


# -- messages ----------------------------------------------------------------------


def test_a_message_has_the_fields_of_discords_own(api, fixture_data):
    theirs = fixture_data("rest/message_create")
    order = {
        "content": "",
        "embeds": [{"title": "Lounge"}],
        "nonce": "n",
        "enforce_nonce": True,
    }
    status, ours = api.ask("POST", messages(api), order)
    assert status == 200
    assert ours.keys() == theirs.keys()
    assert ours["embeds"] == [{"type": "rich", "title": "Lounge"}]


def test_a_message_is_told_by_the_gateway_and_listed_newest_first(api):
    sent = [api.ask("POST", messages(api), {"content": c})[1]["id"] for c in "ab"]
    assert api.told == ["MESSAGE_CREATE"] * 2
    body = json.loads(api.published[0].body(1 << 9))
    assert (body["content"], body["guild_id"]) == ("a", str(api.home.id))
    _, listed = api.ask("GET", messages(api))
    assert [message["id"] for message in listed] == sent[::-1]
    _, one = api.ask("GET", messages(api) + "?limit=1")
    assert [message["id"] for message in one] == sent[1:]
    _, older = api.ask("GET", f"{messages(api)}?before={sent[1]}")
    assert [message["id"] for message in older] == sent[:1]


def test_without_the_switch_for_content_only_the_bots_own_is_shown(make_api):
    api = make_api(disallowed_intents=intents.MESSAGE_CONTENT)
    room = api.room("general").id
    api.messages.write(room, api.home.owner, "mine", "2026-11-21T10:00:00+00:00")
    api.ask("POST", messages(api), {"content": "its"})
    _, listed = api.ask("GET", messages(api))
    assert [message["content"] for message in listed] == ["its", ""]


def test_an_enforced_nonce_is_written_once(api):
    order = {"content": "a", "nonce": "n", "enforce_nonce": True}
    first = api.ask("POST", messages(api), order)[1]
    again = api.ask("POST", messages(api), order | {"content": "b"})[1]
    assert again["id"] == first["id"]
    assert again["content"] == "a"
    assert api.told == ["MESSAGE_CREATE"]


def test_a_message_is_changed_in_part_and_deleted(api):
    order = {"content": "a", "embeds": [{"title": "t"}]}
    path = f"{messages(api)}/{api.ask('POST', messages(api), order)[1]['id']}"
    _, changed = api.ask("PATCH", path, {"content": "b"})
    assert (changed["content"], changed["embeds"][0]["title"]) == ("b", "t")
    assert changed["edited_timestamp"] is not None
    assert api.ask("DELETE", path)[0] == 204
    assert api.told == ["MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_DELETE"]
    for method in ("GET", "DELETE"):
        assert code(api.ask(method, path)) == (404, 10008)
    assert code(api.ask("PATCH", path, {"content": "c"})) == (404, 10008)


def test_somebody_elses_message_is_not_the_bots_to_change_or_delete(api):
    room = api.room("general").id
    api.messages.write(room, api.home.owner, "mine", "2026-11-21T10:00:00+00:00")
    (message,) = api.messages.newest(room)
    path = f"{messages(api)}/{message.id}"
    assert code(api.ask("PATCH", path, {"content": "x"})) == (403, 50005)
    assert code(api.ask("DELETE", path)) == (403, 50013)
    api.let_the_bot(VIEW | permissions.MANAGE_MESSAGES)
    assert api.ask("DELETE", path)[0] == 204


@pytest.mark.parametrize(
    ("may", "order", "refused"),
    [
        (0, {"content": "x"}, (403, 50001)),
        (VIEW, {"content": "x"}, (403, 50013)),
        (VIEW | SEND, {"content": "x"}, None),
        (VIEW | SEND, {"embeds": [{"title": "t"}]}, (403, 50013)),
        (VIEW | SEND | LINKS, {"embeds": [{"title": "t"}]}, None),
        (VIEW | SEND, {"content": ""}, (400, 50006)),
    ],
)
def test_writing_needs_its_permissions(make_api, may, order, refused):
    answer = make_api(may).ask("POST", messages(make_api(may)), order)
    assert (None if answer[0] == 200 else code(answer)) == refused


def test_an_overwrite_of_the_channel_counts(api):
    api.room("general").overwrites = (Overwrite(api.home.id, deny=SEND),)
    api.let_the_bot(VIEW | SEND)
    assert code(api.ask("POST", messages(api), {"content": "x"})) == (403, 50013)
    assert api.ask("POST", messages(api, "off-topic"), {"content": "x"})[0] == 200


def test_a_voice_channels_chat_needs_connect(make_api):
    without, with_it = make_api(VIEW | SEND), make_api(VIEW | SEND | CONNECT)
    order = {"content": "x"}
    assert without.ask("POST", messages(without, "Lounge"), order)[0] == 403
    assert with_it.ask("POST", messages(with_it, "Lounge"), order)[0] == 200


def test_without_its_history_a_channel_is_empty(make_api):
    api = make_api(VIEW | SEND)
    api.ask("POST", messages(api), {"content": "x"})
    assert api.ask("GET", messages(api)) == (200, [])


@pytest.mark.parametrize(
    ("order", "path"),
    [
        ({"embeds": [{"title": "x" * 257}]}, "embeds 0 title"),
        ({"embeds": [{"description": "x" * 4097}]}, "embeds 0 description"),
        (
            {"embeds": [{"fields": [{"name": "n", "value": "x" * 1025}]}]},
            "embeds 0 fields 0 value",
        ),
        (
            {"embeds": [{"fields": [{"name": "", "value": "x"}]}]},
            "embeds 0 fields 0 name",
        ),
        (
            {"embeds": [{"fields": [{"name": "n", "value": "x"}] * 26}]},
            "embeds fields",
        ),
        ({"embeds": [{"description": "x" * 3001}] * 2}, "embeds"),
        ({"embeds": [{"title": "t"}] * 11}, "embeds"),
        (
            {"components": [{"type": 1, "components": [{"type": 2, "label": "a"}]}]},
            "components 0 components 0",
        ),
        (
            {"components": [{"components": [{"label": "x" * 81, "url": "u"}]}]},
            "components 0 components 0 label",
        ),
        ({"content": "x", "nonce": "n" * 26}, "nonce"),
    ],
)
def test_what_is_too_long_is_refused_and_named(api, order, path):
    status, said = api.ask("POST", messages(api), order)
    assert (status, said["code"]) == (400, 50035)
    tree = said["errors"]
    for part in path.split():
        tree = tree[part]
    assert tree["_errors"]


def test_nobody_writes_in_a_category(api):
    answer = api.ask("POST", messages(api, "Main"), {"content": "x"})
    assert code(answer) == (400, 50008)


# -- invites -----------------------------------------------------------------------


def test_an_invite_has_the_fields_of_discords_own(api, fixture_data):
    theirs = fixture_data("rest/invite_create")
    status, ours = api.ask("POST", invites(api), {"max_uses": 1, "unique": True})
    assert status == 200
    assert ours.keys() == theirs.keys()
    assert ours["guild"].keys() == theirs["guild"].keys()
    assert ours["expires_at"] == "2026-11-22T10:00:00+00:00"


def test_an_equal_invite_is_given_again_unless_it_shall_be_unique(api):
    first = api.ask("POST", invites(api), {})[1]["code"]
    assert api.ask("POST", invites(api), {})[1]["code"] == first
    assert api.ask("POST", invites(api), {"max_uses": 1})[1]["code"] != first
    assert api.ask("POST", invites(api), {"unique": True})[1]["code"] != first


def test_an_invite_stands_until_its_time_is_over(api):
    made = api.ask("POST", invites(api), {"max_age": 60})[1]["code"]
    status, shown = api.ask("GET", f"/invites/{made}")
    assert (status, shown["code"]) == (200, made)
    assert "uses" not in shown
    api.clock.advance(60)
    assert code(api.ask("GET", f"/invites/{made}")) == (404, 10006)


def test_an_invite_goes_with_its_channel(api):
    made = api.ask("POST", invites(api), {})[1]["code"]
    api.world.remove_channel(api.room("general").id)
    assert code(api.ask("GET", f"/invites/{made}")) == (404, 10006)


def test_who_may_manage_the_channel_lists_deletes_and_hears_of_invites(api):
    made = api.ask("POST", invites(api), {})[1]["code"]
    assert api.told == []
    assert code(api.ask("GET", invites(api))) == (403, 50013)
    assert code(api.ask("DELETE", f"/invites/{made}")) == (403, 50013)
    api.let_the_bot(VIEW | INVITE | MANAGE)
    _, listed = api.ask("GET", invites(api))
    assert [invite["code"] for invite in listed] == [made]
    assert api.ask("DELETE", f"/invites/{made}")[0] == 200
    api.ask("POST", invites(api), {})
    assert api.told == ["INVITE_DELETE", "INVITE_CREATE"]


@pytest.mark.parametrize(
    ("may", "name", "refused"),
    [
        (0, "general", (403, 50001)),
        (VIEW, "general", (403, 50013)),
        (VIEW | INVITE, "Main", (404, 10003)),
        (VIEW | INVITE | CONNECT, "Lounge", None),
    ],
)
def test_inviting_needs_its_permission_and_a_channel(make_api, may, name, refused):
    api = make_api(may)
    answer = api.ask("POST", invites(api, name), {})
    assert (None if answer[0] == 200 else code(answer)) == refused


def test_a_guild_has_a_thousand_invites_at_most(api):
    room = api.room("general")
    for _ in range(1000):
        api.invites.make(room, api.home.owner, Terms(max_age=0), api.began)
    assert code(api.ask("POST", invites(api), {})) == (400, 30016)
