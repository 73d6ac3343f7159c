"""Devices and pages behind one front, on real ports."""

import pytest
import pytest_twisted
from twisted.internet import endpoints
from twisted.internet.error import ConnectError
from twisted.protocols.haproxy import proxyEndpoint

from voicestatus.core.admission import Limits
from voicestatus.devices.wire import OK, ON, PONG

PAGE = b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n"
EVERYWHERE = pytest.mark.parametrize("carrier", ["tcp", "tls", "unix"])


@EVERYWHERE
@pytest_twisted.ensureDeferred
async def test_pages_and_devices_share_a_port(
    carrier, line, front, upgrade, masked, eventually
):
    async with line.serving(front):
        page, device, lost = [await line.dial() for _ in range(3)]
        page.write(PAGE)
        await eventually(lambda: page.data.endswith(b"a page"))
        device.write(upgrade() + masked(1, b"AUTH:secret") + masked(9))
        await eventually(lambda: device.data.endswith(OK + ON + PONG))
        lost.write(upgrade(b"/elsewhere"))
        await eventually(lambda: lost.data.startswith(b"HTTP/1.1 404 "))


@EVERYWHERE
@pytest_twisted.ensureDeferred
async def test_an_upgrade_may_come_on_a_connection_that_served_pages(
    carrier, line, front, devices, lights, upgrade, masked, eventually, settled, clock
):
    async with line.serving(front):
        peer = await line.dial()
        peer.write(PAGE)
        await eventually(lambda: peer.data.endswith(b"a page"))
        # AUTH and a ping in the segment of the request, as devices send them
        peer.write(upgrade(b"/ws?guild=7") + masked(1, b"AUTH:secret") + masked(9))
        await eventually(lambda: peer.data.endswith(OK + ON + PONG))
        assert list(lights.followers) == ['{"guilds":["7"]}']
        (device,) = devices.wheel
        assert device.transport.producer is None
        # the page's own timer does not end the device's connection
        clock.advance(3600)
        await settled()
        assert not peer.lost
        device.sendClose()
        peer.write(masked(8))
        await eventually(lambda: peer.lost)


@pytest_twisted.ensureDeferred
async def test_page_upgrade_and_auth_may_come_in_one_segment(
    line, front, upgrade, masked, eventually
):
    async with line.serving(front):
        peer = await line.dial()
        peer.write(PAGE + upgrade() + masked(1, b"AUTH:secret") + masked(9))
        await eventually(lambda: peer.data.endswith(OK + ON + PONG))
        assert b"\r\n\r\na pageHTTP/1.1 101 " in peer.data


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /ws HTTP/1.0\r\nUpgrade: websocket\r\n\r\n",
        b"POST /ws HTTP/1.1\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\na",
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_no_upgrade_is_told_to_upgrade(
    request_bytes, line, front, eventually
):
    async with line.serving(front):
        peer = await line.dial()
        peer.write(request_bytes)
        await eventually(lambda: peer.data.endswith(b"Upgrade Required"))
        first, _, headers = peer.data.partition(b"\r\n")
        assert first.endswith(b" 426 Upgrade Required")
        assert b"upgrade: websocket" in headers.lower()


@pytest_twisted.ensureDeferred
async def test_behind_a_proxy_that_speaks_proxy_the_address_is_the_devices(
    line, front, devices, upgrade, masked, eventually
):
    from twisted.internet import reactor

    tcp = endpoints.TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
    line.listen = proxyEndpoint(tcp).listen
    async with line.serving(front):
        peer = await line.dial()
        peer.write(b"PROXY TCP4 198.51.100.7 10.0.0.1 4711 8080\r\n")
        peer.write(upgrade() + masked(1, b"AUTH:secret"))
        await eventually(lambda: peer.data.endswith(OK + ON))
        assert [device.address for device in devices.wheel] == ["198.51.100.7"]


@pytest_twisted.ensureDeferred
async def test_a_refused_device_may_write_its_text_and_is_closed(
    line, front, devices, upgrade, eventually
):
    async with line.serving(front):
        peer = await line.dial()
        peer.write(upgrade(b"/ws?channel=0"))
        await eventually(lambda: peer.data.endswith(b"channel is not an id"))
        peer.write(b"This is a webSocket client!")
        await eventually(lambda: peer.lost)
        await eventually(lambda: not len(devices.closing))


@EVERYWHERE
@pytest.mark.parametrize("limits", [Limits(in_all=2)])
@pytest_twisted.ensureDeferred
async def test_one_too_many_is_closed_and_those_that_are_here_stay(
    limits, carrier, line, front, door, upgrade, masked, eventually
):
    async with line.serving(front):
        device, page = await line.dial(), await line.dial()
        device.write(upgrade() + masked(1, b"AUTH:secret"))
        page.write(PAGE)
        await eventually(lambda: device.data.endswith(OK + ON))
        await eventually(lambda: page.data.endswith(b"a page"))
        try:
            extra = await line.dial()
        except ConnectError:
            pass  # it was reset before this end knew of it
        else:
            await eventually(lambda: extra.lost)
            assert extra.data == b""
        page.transport.abortConnection()
        await eventually(lambda: len(door) == 1)
        page = await line.dial()
        page.write(PAGE)
        await eventually(lambda: page.data.endswith(b"a page"))
        device.write(masked(9))
        await eventually(lambda: device.data.endswith(PONG))


@EVERYWHERE
@pytest_twisted.ensureDeferred
async def test_whatever_a_connection_was_it_is_not_counted_once_it_is_lost(
    carrier, line, front, door, upgrade, masked, eventually
):
    async with line.serving(front):
        auth = masked(1, b"AUTH:secret")
        for data in (b"", b"GET", PAGE, upgrade() + auth, PAGE + upgrade() + auth):
            peer = await line.dial()
            peer.write(data)
            await eventually(lambda: len(door) == 1)
            peer.transport.abortConnection()
            await eventually(lambda: len(door) == 0)
