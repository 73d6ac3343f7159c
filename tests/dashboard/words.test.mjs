import assert from "node:assert/strict";
import {test} from "node:test";

import {ApiError} from "../../voicestatus/web/dashboard/api.js";
import {parts} from "../../voicestatus/web/dashboard/rich-text.js";
import {ROUTES, routeOf, safeNext, sees} from "../../voicestatus/web/dashboard/routes.js";
import {ago, browserOf, count, fieldErrors, initials, sayError} from "../../voicestatus/web/dashboard/words.js";
import {changed, moved, ranksOf, same} from "../../voicestatus/web/dashboard/views/settings/draft.js";

// ---- what people wrote -------------------------------------------------------------

test("a text is cut into text and links, and nothing of it is lost", () => {
  for (const [text, links] of [
    ["no link", []],
    ["see https://a.example/b?c=d.", ["https://a.example/b?c=d"]],
    ["(https://a.example/x) and <https://b.example>", ["https://a.example/x", "https://b.example"]],
    ["https://a.example/w_(x)", ["https://a.example/w_(x)"]],
    ["**https://a.example**!", ["https://a.example"]],
    ["<b>https://a.example</b>", ["https://a.example"]],
    ["javascript:alert(1) http://", []],
    ["", []],
  ]) {
    const found = parts(text);
    assert.equal(found.map((part) => part.text).join(""), text);
    assert.deepEqual(found.filter((part) => part.href).map((part) => part.text), links, text);
  }
});

test("a link leads to http and https alone", () => {
  const found = parts("https://a.example http://b.example ftp://c data:text/html,x HTTPS://d javascript://e");
  for (const {href} of found.filter((part) => part.href)) assert.match(href, /^https?:/);
});

// ---- where one may go --------------------------------------------------------------

test("each view stands at its path and nowhere else", () => {
  for (const route of ROUTES) assert.equal(routeOf(route.path), route);
  assert.equal(routeOf("/nowhere"), undefined);
  assert.equal(routeOf("/health"), undefined);
});

test("members see what is everybody's, managers the settings, too, admins all", () => {
  const seen = (level, org) => ROUTES.filter((route) => sees(route, {level}, org)).map(({path}) => path);
  assert.deepEqual(seen("member", {manager: false}), ["/", "/privacy", "/account"]);
  assert.deepEqual(seen("member", {manager: true}), ["/", "/settings", "/privacy", "/account"]);
  assert.deepEqual(seen("guest", null), ["/", "/privacy", "/account"]);
  assert.equal(seen("admin", null).length, ROUTES.length);
  assert.deepEqual(ROUTES.filter(({open}) => open).map(({path}) => path), ["/privacy"]);
});

test("after signing in one goes to a path of this page and nowhere else", () => {
  for (const [next, to] of [
    ["/signs?tag=a", "/signs?tag=a"],
    [null, "/"],
    ["", "/"],
    ["https://evil.example", "/"],
    ["//evil.example/x", "/"],
    ["/\\evil.example", "/"],
    ["\t//evil.example", "/"],
    ["javascript:alert(1)", "/"],
  ]) assert.equal(safeNext(next), to, String(next));
});

// ---- words -------------------------------------------------------------------------

test("initials are letters of the first and the last word", () => {
  for (const [name, letters] of [
    ["Mira Holt", "MH"],
    ["jonas_k", "JK"],
    ["Ada", "A"],
    ["🦊 fox of the woods 🦊", "FW"],
    ["ünal", "Ü"],
    ["李雷", "李"],
    ["🦊", "?"],
    ["", "?"],
    [undefined, "?"],
  ]) assert.equal(initials(name), letters, String(name));
});

test("it is said how long ago something was", () => {
  const now = Date.parse("2026-01-02T12:00:00Z");
  const said = (at) => ago(at, now);
  assert.equal(said("2026-01-02T11:59:55Z"), "just now");
  assert.match(said("2026-01-02T11:58:00Z"), /^2 min/);
  assert.match(said("2026-01-02T09:00:00Z"), /^3 hr/);
  assert.equal(said("2026-01-01T11:00:00Z"), "yesterday");
  assert.equal(said("2026-01-09T12:00:00Z"), "in 7 days");
  assert.equal(said("2026-01-09T11:59:58Z"), "in 7 days");
});

test("numbers agree with their words", () => {
  assert.equal(count(1, "person", "people"), "1 person");
  assert.equal(count(0, "channel"), "0 channels");
  assert.equal(count(1200, "sign"), "1,200 signs");
});

test("a browser is named shortly", () => {
  const linux = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
  const phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile/1 Safari/604.1";
  assert.equal(browserOf(linux), "Firefox on Linux");
  assert.equal(browserOf(phone), "Safari on iOS");
  assert.equal(browserOf("curl/8"), "curl/8");
  assert.equal(browserOf(""), "Unknown browser");
});

const refusal = (code, details = {}, message = "Words.") => new ApiError(409, {code, message, details, requestId: "r"});

test("a known refusal says what to do, an unknown one says what the server said", () => {
  assert.match(sayError(refusal("NO_INVITE_CHANNEL")).advice, /settings/);
  assert.match(sayError(refusal("DISCORD_UNAVAILABLE", {retryAfterS: 2.2})).advice, /3 seconds/);
  assert.match(sayError(refusal("MISSING_PERMISSION", {}, "The bot lacks: Connect.")).advice, /^The bot lacks: Connect\./);
  const {headline, reference} = sayError(refusal("SOMETHING_NEW"));
  assert.deepEqual([headline, reference], ["Words.", "r"]);
});

test("what is wrong with a field is said at the field", () => {
  assert.deepEqual(fieldErrors(refusal("VALIDATION_FAILED", {key: "name"})), {name: "Words."});
  const ranks = fieldErrors(refusal("ROLE_NOT_ASSIGNABLE", {key: "discordRankRoles.officer"}));
  assert.deepEqual(ranks, {discordRankRoles: "Words.", "discordRankRoles.officer": "Words."});
  assert.deepEqual(fieldErrors(refusal("FORBIDDEN")), {});
  assert.deepEqual(fieldErrors(null), {});
});

// ---- settings that are not saved yet -----------------------------------------------

test("what is set back to what it was is no change", () => {
  const saved = {a: 1, list: ["x", "y"], map: {k: "v"}};
  let draft = changed({}, saved, "list", ["y", "x"]);
  draft = changed(draft, saved, "map", {k: "w"});
  assert.deepEqual(draft, {list: ["y", "x"], map: {k: "w"}});
  draft = changed(changed(draft, saved, "list", ["x", "y"]), saved, "map", {k: "v"});
  assert.deepEqual(draft, {});
});

test("values are the same when their JSON is", () => {
  assert.ok(same({a: [1, {b: null}]}, {a: [1, {b: null}]}));
  for (const [a, b] of [[null, {}], [[], {}], [[1], [1, 2]], [{a: 1}, {b: 1}], [0, null], ["1", 1]]) {
    assert.ok(!same(a, b), JSON.stringify([a, b]));
  }
});

test("an entry moves within its list and not beyond", () => {
  assert.deepEqual(moved(["a", "b", "c"], 0, 1), ["b", "a", "c"]);
  assert.deepEqual(moved(["a", "b", "c"], 2, 0), ["c", "a", "b"]);
  assert.deepEqual(moved(["a", "b"], 1, 2), ["a", "b"]);
  assert.deepEqual(moved(["a", "b"], 0, -1), ["a", "b"]);
});

test("a rank needs a name and a role, and is there once", () => {
  const rows = [
    {rank: " officer ", role: "1"}, {rank: "officer", role: "2"}, {rank: "raider", role: ""}, {rank: "", role: "3"},
    {rank: "", role: ""},
  ];
  const {value, wrong} = ranksOf(rows);
  assert.deepEqual(value, {officer: "1"});
  assert.deepEqual(Object.keys(wrong), ["1", "2", "3"]);
});
