"""The page about the wire of downloads is true: each example is played."""

import re
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from voicestatus.core.chip import Chip
from voicestatus.ota.incoming import Terms

PAGE = (Path(__file__).parents[2] / "docs" / "wire-ota.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(request|answer)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_every_request_is_answered_as_the_page_says(side: Any, make_files: Any):
    files = make_files(14, Chip.ESP32, 20_000)

    async def prepare() -> None:
        incoming = side.ota.catalogue.incoming()
        await incoming.append(files["image"])
        incoming.sign(files["manifest"])
        release, _ = await side.ota.catalogue.add(incoming, Terms(legacy=True))
        for device in ("hall", "desk"):
            await side.ota.downloads.grant(device, release)
        side.macs["7c:df:a1:00:00:01"] = "old"
        side.ota.downloads.assigned = {"old": release}.get

    prepared = Deferred.fromCoroutine(prepare())
    assert prepared.called
    blocks = _BLOCK.findall(PAGE)
    assert len(blocks) == 12
    for (_, asked), (_, told) in zip(blocks[::2], blocks[1::2], strict=True):
        visitor = side.visit()
        visitor.send(asked.replace("\n", "\r\n").encode() + b"\r\n")
        side.clock.pump([0.05] * 20)
        head, _, body = visitor.transport.value().partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        shown = told.splitlines()
        assert lines[0] == shown[0]
        assert [line for line in lines if line in shown] == shown, lines
        if lines[0].endswith("200 OK"):
            assert body == files["image"]
