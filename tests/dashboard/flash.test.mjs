import assert from "node:assert/strict";
import {test} from "node:test";
import {addressProblem, configLine, dialled, fits, isOwnMachine, lines, meaning, typed} from "../../voicestatus/web/dashboard/views/flash/config.js";

test("a sign is told what is known, in the words of both versions", () => {
  assert.equal(configLine({url: "wss://signs.example/ws", token: "vst_a"}), 'CONFIG:{"wsUrl":"wss://signs.example/ws","authToken":"vst_a"}');
  assert.equal(
    configLine({url: "ws://a/ws", token: "t", ssid: 'a "b"', password: "secret12"}),
    'CONFIG:{"wsUrl":"ws://a/ws","authToken":"t","wifiSsid":"a \\"b\\"","wifiPass":"secret12"}',
  );
  assert.equal(configLine({token: "t", password: "of no network"}), 'CONFIG:{"authToken":"t"}');
});

test("who types it says first what version 1 waits for", () => {
  assert.equal(typed(configLine({token: "t"})), 'WEB_CONFIG\nCONFIG:{"authToken":"t"}');
});

test("a line is one line, and no longer than a console takes", () => {
  assert.ok(!configLine({ssid: "two\nlines", token: "t"}).includes("\n"));
  assert.ok(fits(configLine({url: `wss://${"a".repeat(180)}/ws`, token: "t".repeat(47), ssid: "ü".repeat(32), password: "ü".repeat(64)})));
  assert.ok(!fits("ü".repeat(512)));
});

test("a sign dials what the settings say, else where this page came from", () => {
  const here = {protocol: "https:", host: "signs.example:8443"};
  assert.equal(dialled({url: "wss://a/ws", path: "/ws"}, here), "wss://a/ws");
  assert.equal(dialled({url: null, path: "/signs"}, here), "wss://signs.example:8443/signs");
  assert.equal(dialled({url: null, path: "/ws"}, {protocol: "http:", host: "10.0.0.2:8080"}), "ws://10.0.0.2:8080/ws");
});

test("an address that leads a sign to itself is told apart", () => {
  for (const host of ["localhost", "a.localhost", "127.0.0.1", "127.1.2.3", "[::1]"]) {
    assert.ok(isOwnMachine(`ws://${host}:8080/ws`), host);
    assert.match(addressProblem(`ws://${host}/ws`), /on itself/);
  }
  for (const host of ["192.168.1.2", "signs.example", "localhost.example", "[fe80::1]"]) {
    assert.ok(!isOwnMachine(`ws://${host}/ws`), host);
    assert.equal(addressProblem(`wss://${host}/ws`), "");
  }
  assert.match(addressProblem("https://signs.example/ws"), /ws:\/\//);
  assert.match(addressProblem("signs"), /no address/);
});

test("a console is heard line by line, however it comes in", () => {
  assert.deepEqual(lines("", "boot\r\nPO"), {whole: ["boot"], rest: "PO"});
  assert.deepEqual(lines("PO", "NG\r"), {whole: [], rest: "PONG\r"});
  assert.deepEqual(lines("PONG\r", "\nOK:"), {whole: ["PONG"], rest: "OK:"});
  assert.equal(lines("", "x".repeat(5000)).rest.length, 1024);
});

test("answers are known, and what a sign logs is none", () => {
  assert.deepEqual(
    ["PONG", " OK:CONFIG_SAVED ", "OK:NO_CHANGES", "OK:WEB_CONFIG_MODE", "ERR:INVALID_JSON", "wifi: PONG", "OK:REBOOTING"].map(meaning),
    ["here", "saved", "saved", "listens", "refused", null, null],
  );
});
