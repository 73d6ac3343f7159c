"""Asks an old device what it is: it is sent to fetch an update, and there is none."""

from collections.abc import Callable
from typing import Protocol

from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime

from voicestatus.core.errors import Refusal
from voicestatus.core.fleet import Sketch
from voicestatus.ota.downloads import Probed
from voicestatus.ota.updater import Facts

ANSWER_WITHIN_S = 30.0
"""A device closes its socket, dials, and gives up after 8 s.

Source: ESP8266httpUpdate.cpp, HTTPUpdate.cpp: `_httpClientTimeout`.
"""


class Old(Protocol):
    """What a probe asks of the devices. See `devices.registry.Registry`."""

    def probe(self, id_: str, path: str) -> None: ...

    def recognise(
        self, name: str, id_: str, *, chip: str, fw: str, sketch: Sketch
    ) -> str: ...


class Answers(Protocol):
    """Where devices answer. See `downloads.Downloads`."""

    def expect_probe(self, device: str) -> str: ...

    def subscribe_probes(
        self, tell: Callable[[Probed], object]
    ) -> Callable[[], object]: ...


class Probes:
    """Probes devices, one at a time: each is dark and away for some seconds."""

    def __init__(
        self,
        devices: Old,
        answers: Answers,
        clock: IReactorTime,
        wall: Callable[[], float],
    ) -> None:
        self._devices, self._answers = devices, answers
        self._clock, self._wall = clock, wall
        self._turn = DeferredLock()

    async def probe(self, device: str) -> Facts:
        """Ask a device, or a connection (`conn-…`), of version 1 what it is.

        From then on it is the device of its MAC: see `id_of`.

        :raises Refusal: `PROBE_UNANSWERED`, and as `Registry.probe` and
            `Registry.recognise` do.
        """
        async with self._turn:
            facts = await self._ask(device)
        sketch = Sketch(
            asked_at=self._wall(),
            md5=facts.sketch_md5,
            size_bytes=facts.sketch_bytes,
            free_bytes=facts.free_bytes,
        )
        self._devices.recognise(
            device,
            id_of(facts),
            chip=facts.family,
            fw=facts.version,
            sketch=sketch,
        )
        return facts

    async def _ask(self, device: str) -> Facts:
        answer: Deferred[Facts] = Deferred()

        def take(probed: Probed) -> None:
            if probed.device == device and not answer.called:
                answer.callback(probed.facts)

        leave = self._answers.subscribe_probes(take)
        try:
            path = self._answers.expect_probe(device)
            self._devices.probe(device, path)
            return await answer.addTimeout(ANSWER_WITHIN_S, self._clock)
        except defer.TimeoutError:
            why = (
                f"device {device} did not ask for an update within "
                f"{ANSWER_WITHIN_S:g} s; can it reach PUBLIC_URL?"
            )
            raise Refusal("PROBE_UNANSWERED", why, id=device) from None
        finally:
            leave()


def id_of(facts: Facts) -> str:
    """Return the id of a device without a token of its own: its MAC, without colons."""
    return facts.mac.replace(":", "")
