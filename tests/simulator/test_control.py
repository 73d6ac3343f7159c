"""What people write, press and become, by the controls; asked without a network."""

import json
from typing import Any

import pytest
from treq.testing import StubTreq
from twisted.internet.testing import MemoryReactorClock

from voicestatus.simulator.service import SimulatedDiscord

GUILD = 1187000000000000001
ROWS = [{"type": 1, "components": [{"type": 2, "label": "In", "custom_id": "in"}]}]


class Room:
    """A simulator, and a way to give it orders."""

    def __init__(self) -> None:
        self.discord = SimulatedDiscord(MemoryReactorClock(), guilds=[GUILD])
        self.home = self.discord.world.guilds[GUILD]
        self.general = self.home.system
        self.user = self.home.owner
        self._stub = StubTreq(self.discord.root)

    def order(self, path: str, status: int = 200, **order: Any) -> Any:
        return self._ask("POST", f"/_control{path}", order, status)

    def rest(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        return self._ask(method, f"/api/v10{path}", body, status)

    def _ask(self, method: str, path: str, body: Any, status: int) -> Any:
        headers, answers = {"Authorization": "Bot t"}, list[Any]()
        if body is not None:
            headers["Content-Type"] = "application/json"
        asked = self._stub.request(
            method,
            f"http://discord{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers=headers,
        )
        asked.addCallback(lambda r: answers.append(r.code) or r.content())
        asked.addCallback(answers.append)
        self._stub.flush()
        assert answers[0] == status, answers
        return json.loads(answers[1]) if answers[1] else None

    @property
    def contents(self) -> list[str]:
        messages = self.rest("GET", f"/channels/{self.general}/messages")
        return [message["content"] for message in messages]


@pytest.fixture
def room() -> Room:
    return Room()


def test_people_write_change_and_delete(room: Room) -> None:
    order = {"channel": room.general, "user": room.user}
    first = room.order("/messages", content="a", **order)["id"]
    room.order("/messages", content="b", **order)
    assert room.contents == ["b", "a"]
    room.order("/messages", channel=room.general, id=first, content="c")
    assert room.contents == ["b", "c"]
    room.order("/messages", channel=room.general, id=first, delete=True)
    assert room.contents == ["b"]
    gone = room.order("/messages", 400, channel=room.general, id=first, delete=True)
    assert gone["error"]["field"] == "id"


def test_a_new_message_needs_somebody(room: Room) -> None:
    refused = room.order("/messages", 400, channel=room.general, content="x")
    assert refused["error"]["field"] == "user"


def test_what_somebody_wrote_who_has_left_can_be_changed(room: Room) -> None:
    room.order("/members", guild=GUILD, user=5)
    written = room.order("/messages", channel=room.general, user=5, content="a")["id"]
    room.order("/members", guild=GUILD, user=5, present=False)
    room.order("/messages", channel=room.general, id=written, content="b")
    assert room.contents == ["b"]


def test_people_delete_what_the_bot_wrote(room: Room) -> None:
    path = f"/channels/{room.general}/messages"
    made = room.rest("POST", path, {"content": "x"})["id"]
    room.order("/messages", channel=room.general, id=made, delete=True)
    assert room.rest("PATCH", f"{path}/{made}", {"content": "y"}, 404)["code"] == 10008


def test_a_member_gets_roles_a_name_and_a_picture(room: Room) -> None:
    roles = [str(role.id) for role in room.home.roles if role.name in {"DJ", "Mods"}]
    room.order("/members", guild=GUILD, user=5, roles=roles, nick="Zed", avatar="a1")
    member = room.rest("GET", f"/guilds/{GUILD}/members/5")
    shown = member["roles"], member["nick"], member["avatar"]
    assert shown == (roles, "Zed", "a1")
    room.order("/members", guild=GUILD, user=5, roles=[], avatar="")
    member = room.rest("GET", f"/guilds/{GUILD}/members/5")
    assert (member["roles"], member["nick"], member["avatar"]) == ([], "Zed", None)
    refused = room.order("/members", 400, guild=GUILD, user=5, roles=[7])
    assert refused["error"]["field"] == "roles"


def test_somebody_presses_a_button(room: Room) -> None:
    path, order = f"/channels/{room.general}/messages", {"components": ROWS}
    made = room.rest("POST", path, order)["id"]
    press = {"channel": room.general, "message": made, "user": room.user}
    pressed = room.order("/interactions", customId="in", **press)
    assert room.discord.community.presses.find(int(pressed["id"])) is not None
    refused = room.order("/interactions", 400, customId="out", **press)
    assert refused["error"]["field"] == "customId"


def test_who_sits_at_the_browser_can_be_chosen(room: Room) -> None:
    accounts = room.discord.community.accounts
    room.order("/sign_in", user=room.user, consent=False)
    assert (accounts.signed_in, accounts.consents) == (room.user, False)
    room.order("/sign_in")
    assert (accounts.signed_in, accounts.consents) == (None, True)
    assert room.order("/sign_in", 400, user=1)["error"]["field"] == "user"


def test_a_limit_has_a_scope(room: Room) -> None:
    room.order("/fault", kind="rate_limit", seconds=9, scope="shared")
    assert room.rest("GET", "/users/@me", status=429)["retry_after"] == 9
    refused = room.order("/fault", 400, kind="rate_limit", scope="lunar")
    assert refused["error"]["field"] == "scope"
