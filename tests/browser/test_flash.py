"""A new sign: the flasher finds it on its port; it comes in with what it was sent."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from voicestatus.core.chip import Chip
from voicestatus.simulator.images import make_image, make_merged

SIGN = """
// A sign on a serial port, as far as Improv and the console go.
class Port {
  said = [];
  getInfo() { return {usbVendorId: 0x1a86, usbProductId: 0x7523}; }
  addEventListener() {}
  removeEventListener() {}
  async setSignals() {}
  async close() {}
  async open() {
    this.readable = new ReadableStream({start: (out) => { this.out = out; }});
    this.writable = new WritableStream({write: (data) => this.hear(data)});
    window.port = this;
  }
  hear(data) {
    const text = new TextDecoder("latin1").decode(data);
    if (text.startsWith("IMPROV")) return this.improv(data);
    const line = text.trim();
    this.said.push(line);
    if (line === "PING") this.tell("PONG\\r\\n");
    else if (line === "WEB_CONFIG") this.tell("OK:WEB_CONFIG_MODE\\n");
    else if (line.startsWith("CONFIG:")) this.tell("OK:CONFIG_SAVED\\nOK:REBOOTING\\n");
  }
  improv(data) {
    const [command] = data.slice(9);
    if (command === 2) this.packet(1, [2]);
    const told = ["voicestatus", "1.4.0", "ESP8266", "Hall"].flatMap((text) =>
      [text.length, ...new TextEncoder().encode(text)]);
    if (command === 3) this.packet(4, [3, told.length, ...told]);
    if (command === 4) this.packet(4, [4, 0]);
  }
  packet(type, data) {
    const head = [...new TextEncoder().encode("IMPROV"), 1, type, data.length, ...data];
    const sum = head.reduce((a, b) => (a + b) % 256);
    this.out.enqueue(new Uint8Array([10, ...head, sum, 10]));
  }
  tell(text) { this.out.enqueue(new TextEncoder().encode(text)); }
}
const none = () => {};
Object.defineProperty(navigator, "serial", {value: {
  addEventListener: none,
  removeEventListener: none,
  getPorts: async () => [],
  requestPort: async () => {
    if (window.chooseNone) throw new DOMException("none", "NotFoundError");
    return new Port();
  },
}});
"""


@pytest.fixture
def release(town: Any) -> str:
    """Publish one for an ESP8266, and a lower build for an ESP32."""
    esp32 = make_image(Chip.ESP32, 65_536, version="1.4.0", build=14)
    (town.folder / "esp32.bin").write_bytes(esp32)
    (town.folder / "merged.bin").write_bytes(make_merged(Chip.ESP32, esp32))
    said = ("--version", "1.4.0", "--build", "14", "--chip", "esp32")
    town.command("sign", "esp32.bin", "--key", town.key, *said)
    town.command("publish", "esp32.bin", "--flash", "merged.bin")
    image = make_image(Chip.ESP8266, 200_000, version="1.5.0", build=15)
    (town.folder / "sign.bin").write_bytes(image)
    said = ("--version", "1.5.0", "--build", "15", "--chip", "esp8266")
    town.command("sign", "sign.bin", "--key", town.key, *said)
    town.command("publish", "sign.bin", "--manifest", "sign.bin.manifest")
    return "1.5.0 · build 15"


def test_a_sign_is_found_on_the_port_told_what_it_needs_and_comes_in(
    town: Any,
    release: str,
    as_admin: Callable[..., Page],
    serious: Callable[[Page], list[str]],
):
    page = as_admin()
    page.add_init_script(SIGN)
    page.goto("/flash")
    choice = page.get_by_label("Release", exact=True)
    expect(choice).to_contain_text(release)
    expect(choice.locator("optgroup[label=ESP32]")).to_contain_text("1.4.0 · build 14")
    assert serious(page) == []

    # No port is chosen; then one is, and the sign there is known by Improv.
    install = page.get_by_role("button", name="Connect and install")
    page.evaluate("window.chooseNone = true")
    install.click()
    expect(page.get_by_text("No port selected")).to_be_visible()
    page.get_by_text("Cancel").click()
    page.evaluate("window.chooseNone = false")
    install.click()
    expect(page.get_by_text("Connected to Hall")).to_be_visible()
    expect(page.get_by_text("Update voicestatus")).to_be_visible()
    page.get_by_text("Logs & Console").click()
    expect(page.get_by_text("Reset Device")).to_be_visible()
    page.goto("/flash")

    # It gets a token for itself alone, and is in.
    page.get_by_role("button", name="Make a one-use token").click()
    page.get_by_label("Server").fill(town.url.replace("http", "ws") + "/ws")
    page.get_by_role("button", name="Send over USB").click()
    expect(page.get_by_text("The sign has its settings")).to_be_visible()
    (line,) = (s for s in page.evaluate("port.said") if s.startswith("CONFIG:"))
    told = json.loads(line.removeprefix("CONFIG:"))
    assert told["wsUrl"].endswith("/ws")
    token = told["authToken"]
    assert token.startswith("vst_")
    town.signs("--token", token, "--count", "1", "--v2")
    page.goto("/signs")
    expect(page.get_by_text("Sim 0").first).to_be_visible()
    assert token not in town.written.read_text()
