"""The devices of all nodes: what is asked about one goes to where it is connected."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType
from twisted.internet.defer import Deferred, gatherResults

from voicestatus.cluster.messages import ANSWER_WITHIN_S, Messages, NodeGone
from voicestatus.core.errors import Refusal, StoreError
from voicestatus.core.fleet import Device, Record, Vitals
from voicestatus.core.lights import EVERYTHING
from voicestatus.devices.registry import Registry
from voicestatus.store.documents import Change, FateUnknown
from voicestatus.web import views
from voicestatus.web.api.rules import Explainer

SHOW: Final = "device-show"
EXPLAIN: Final = "device-explain"
COMMAND: Final = "device-command"
WELCOME: Final = "device-welcome"
SHOW_WITHIN_S: Final = 1.0
"""How long many devices wait for one node that may be dead."""
FEW: Final = 20
"""So many are looked for one by one."""

encode = msgspec.json.encode
T = TypeVar("T")


class Command(Struct, frozen=True):
    """A command to a device, from one node to another."""

    device: str
    command: dict[str, Any]


class NewToken(Struct, frozen=True):
    """A token for a device, from one node to another."""

    device: str
    token: str

    def __repr__(self) -> str:
        return f"NewToken(device={self.device!r})"


class Everywhere:
    """Asks the registry about devices that are here, and other nodes about theirs.

    A device that is nowhere is the registry's, too.
    """

    def __init__(
        self, registry: Registry, explainer: Explainer, messages: Messages | None
    ) -> None:
        """`messages` go between the nodes; None: this one is alone."""
        self._registry, self._explainer = registry, explainer
        self._messages = messages
        if messages is not None:
            messages.serve(SHOW, self._serve_show)
            messages.serve(EXPLAIN, self._serve_explain)
            messages.serve(COMMAND, self._serve_command)
            messages.serve(WELCOME, self._serve_welcome)

    @property
    def alone(self) -> bool:
        """Whether no device can be anywhere else."""
        return self._messages is None

    def view(self, device: Device) -> views.Device:
        """Show a device as this node knows it."""
        node: str | UnsetType = UNSET
        if self._messages is not None and device.connected:
            node = self._messages.node
        return views.device_of(device, node)

    # ---- one device ----------------------------------------------------------------

    async def show(self, id_: str) -> views.Device:
        """:raises Refusal: `DEVICE_NOT_FOUND`, `NODE_UNREACHABLE`."""
        answer = await self._ask_there(id_, SHOW, encode([id_]))
        shown = [] if answer is None else _decoded(answer, list[views.Device])
        return shown[0] if shown else self.view(self._known(id_))

    async def changed(self, device: Device) -> views.Device:
        """Show a device that was just changed here; its node may not know it yet."""
        mine = there = self.view(device)
        with suppress(Refusal, StoreError):
            there = await self.show(device.id)
        return msgspec.structs.replace(
            there,
            name=mine.name,
            tags=mine.tags,
            rule=mine.rule,
            approved=mine.approved,
            revoked=mine.revoked,
        )

    async def explain(self, id_: str) -> views.DeviceExplanation:
        """:raises Refusal: as `show` does."""
        answer = await self._ask_there(id_, EXPLAIN, id_.encode())
        if answer is None:
            return self._explained(id_)
        return _decoded(answer, views.DeviceExplanation)

    async def command(self, id_: str, command: Mapping[str, Any]) -> None:
        """Send a command.

        :raises Refusal: as `Registry.command` does, `NODE_UNREACHABLE` (it was not
            sent), and `FATE_UNKNOWN` (it may have been).
        """
        try:
            self._registry.command(id_, command)
        except Refusal as e:
            if e.code not in {"DEVICE_NOT_FOUND", "DEVICE_OFFLINE"}:
                raise
            asked = encode(Command(id_, dict(command)))
            if await self._ask_there(id_, COMMAND, asked) is None:
                raise

    async def rotate(self, id_: str, *, also: tuple[Change, ...]) -> str:
        """:raises Refusal: as `Registry.rotate` does."""
        token = await self._registry.rotate(id_, also=also)
        # Else it gets one when it says hello for the next time.
        with suppress(Refusal, StoreError):
            await self._ask_there(id_, WELCOME, encode(NewToken(id_, token)))
        return token

    def _known(self, id_: str) -> Device:
        if (device := self._registry.get(id_)) is None:
            raise Refusal("DEVICE_NOT_FOUND", "There is no device with this id.")
        return device

    def _explained(self, id_: str) -> views.DeviceExplanation:
        found, showing = self._known(id_), self._registry.showing(id_)
        rule = found.record.rule or EVERYTHING if showing is None else showing.rule
        told = self._explainer.explain(rule)
        return views.device_explanation_of(found, showing, told)

    async def _ask_there(self, id_: str, topic: str, body: bytes) -> bytes | None:
        """Ask the other node where a device is; None: there is none."""
        if self._messages is None or self._registry.is_here(id_):
            return None
        node = await self._messages.where(id_)
        if node is None or node == self._messages.node:
            return None
        return await self._ask(self._messages, node, topic, body)

    async def _ask(
        self,
        messages: Messages,
        node: str,
        topic: str,
        body: bytes,
        limit_s: float = ANSWER_WITHIN_S,
    ) -> bytes:
        try:
            return await messages.ask(node, topic, body, limit_s)
        except NodeGone:
            why = "The node where the device is does not answer; nothing was done."
            raise Refusal("NODE_UNREACHABLE", why, node=node) from None
        except Refusal as e:
            if e.code == "NOT_SERVED":
                raise _other_version() from None
            raise
        except FateUnknown:
            why = "The node where the device is did not answer: it may have happened."
            raise Refusal("FATE_UNKNOWN", why, node=node) from None

    def look(self) -> None:
        """Let other nodes tell all, for a while; see `Registry.look`."""
        self._registry.look()

    # ---- many devices --------------------------------------------------------------

    async def places(self, ids: Sequence[str] | None = None) -> Mapping[str, str]:
        """Return the nodes of devices that are connected elsewhere: of these, or all.

        :raises StoreError: that cannot be told now.
        """
        if self._messages is None:
            return {}
        if ids is not None and len(ids) <= FEW:
            found = {id_: await self._messages.where(id_) for id_ in ids}
        else:
            found = dict(await self._messages.everywhere())
        return {
            id_: node
            for id_, node in found.items()
            if node not in {None, self._messages.node}
            and not self._registry.is_here(id_)
        }

    async def shown(
        self, ids: Sequence[str], places: Mapping[str, str]
    ) -> list[views.Device]:
        """Show those that there are; if a node does not answer, no more than where."""
        there: dict[str, list[str]] = {}
        for id_ in ids:
            if (node := places.get(id_)) is not None:
                there.setdefault(node, []).append(id_)
        asked = [
            Deferred.fromCoroutine(self._ask_many(node, of_it))
            for node, of_it in there.items()
        ]
        told = {
            view.id: view for views_ in await gatherResults(asked) for view in views_
        }
        shown = (told.get(id_) or self._unasked(id_, places.get(id_)) for id_ in ids)
        return [view for view in shown if view is not None]

    def device(self, id_: str, places: Mapping[str, str]) -> Device | None:
        """Return what is known here of a device that is here, there or away."""
        device = self._registry.get(id_)
        if device is None and id_ in places:
            return Device(Record(id=id_, approved=False), Vitals(), enrolled=False)
        return device

    def _unasked(self, id_: str, node: str | None) -> views.Device | None:
        if node is None or self._registry.is_here(id_):
            device = self._registry.get(id_)
            return None if device is None else self.view(device)
        device = self.device(id_, {id_: node})
        return None if device is None else views.device_of(device, node)

    async def _ask_many(self, node: str, ids: list[str]) -> list[views.Device]:
        if self._messages is None:
            return []
        asked = SHOW, encode(ids), SHOW_WITHIN_S
        try:
            answer = await self._ask(self._messages, node, *asked)
            return _decoded(answer, list[views.Device])
        except (Refusal, StoreError):
            return []

    # ---- for other nodes -----------------------------------------------------------

    async def _serve_show(self, body: bytes) -> bytes:
        found = map(self._registry.get, _decoded(body, list[str]))
        return encode([self.view(device) for device in found if device is not None])

    async def _serve_explain(self, body: bytes) -> bytes:
        return encode(self._explained(body.decode()))

    async def _serve_command(self, body: bytes) -> bytes:
        asked = _decoded(body, Command)
        self._registry.command(asked.device, asked.command)
        return b""

    async def _serve_welcome(self, body: bytes) -> bytes:
        asked = _decoded(body, NewToken)
        self._registry.welcome(asked.device, asked.token)
        return b""


def _decoded(body: bytes, type_: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=type_)
    except msgspec.DecodeError:
        raise _other_version() from None


def _other_version() -> Refusal:
    why = "The node where the device is is of another version; nothing was done."
    return Refusal("NODE_UNREACHABLE", why)
