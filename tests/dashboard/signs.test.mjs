import assert from "node:assert/strict";
import {test} from "node:test";
import {directoryOf, namesOf} from "../../voicestatus/web/dashboard/views/signs/directory.js";
import {ALL, census, find, natural, signalOf, stateOf} from "../../voicestatus/web/dashboard/views/signs/fleet.js";
import {LightBook, askable} from "../../voicestatus/web/dashboard/views/signs/lights.js";
import {draftOf, newHours, problemOf, readRule, ruleOf, sameRule} from "../../voicestatus/web/dashboard/views/signs/rule-draft.js";
import {conditions, explained, hoursIn} from "../../voicestatus/web/dashboard/views/signs/rule-words.js";
import {bytes, span} from "../../voicestatus/web/dashboard/views/fleet/sizes.js";

const sign = (id, more = {}) => ({
  id,
  name: "",
  tags: [],
  rule: null,
  enrolled: true,
  approved: true,
  revoked: false,
  connected: true,
  chip: "esp32",
  board: "",
  fw: "1.0.0",
  build: 1,
  path: "/ws",
  address: "192.0.2.1",
  rssiDbm: -60,
  lastSeen: null,
  ...more,
});
const found = (devices, query, isLit) => find(devices, {...ALL, ...query}, isLit).map(({id}) => id);

test("signs are found by all words, whatever they are written in", () => {
  const fleet = [
    sign("a", {name: "Hall, left", tags: ["office"]}),
    sign("b", {name: "Hall, right", chip: "esp8266"}),
    sign("c", {connected: false}),
    sign("d", {enrolled: false, approved: false}),
    sign("e", {approved: false}),
  ];
  assert.deepEqual(found(fleet, {text: "HALL esp8266"}), ["b"]);
  assert.deepEqual(found(fleet, {tag: "office"}), ["a"]);
  assert.deepEqual(found(fleet, {state: "away"}), ["c"]);
  assert.deepEqual(found(fleet, {state: "waiting"}), ["e"]);
  assert.deepEqual(found(fleet, {state: "stranger"}), ["d"]);
  assert.deepEqual(found(fleet, {state: "lit"}, ({id}) => id === "b"), ["b"]);
  assert.equal(stateOf(sign("f", {revoked: true})), "revoked");
});

test("signs are in the order in which people count, and ties are by name", () => {
  const fleet = ["lamp-10", "lamp-9", "Lamp-1"].map((id) => sign(id));
  assert.deepEqual(found(fleet, {}), ["Lamp-1", "lamp-9", "lamp-10"]);
  assert.deepEqual(found(fleet, {down: true}), ["lamp-10", "lamp-9", "Lamp-1"]);
  fleet[0].rssiDbm = -40;
  assert.deepEqual(found(fleet, {sort: "signal"}), ["lamp-10", "Lamp-1", "lamp-9"]);
  assert.ok(natural("a2") < natural("a10"));
});

test("ten thousand signs are searched and ordered in far less than a second each", () => {
  const fleet = Array.from({length: 10_000}, (_, n) => sign(`sim-${n % 100}-${n}`));
  find(fleet, ALL);
  const begun = performance.now();
  assert.equal(find(fleet, {...ALL, text: "sim-7-"}).length, 100);
  assert.equal(find(fleet, ALL).length, 10_000);
  assert.ok(performance.now() - begun < 2000);
});

test("the census counts states, and names tags and chips in order", () => {
  const told = census([sign("a", {tags: ["z", "b"]}), sign("b", {connected: false, tags: ["b"]})]);
  assert.deepEqual([told.all, told.connected], [2, 1]);
  assert.deepEqual([...told.tags], [["b", 2], ["z", 1]]);
  assert.equal(told.states.get("away"), 1);
});

test("a signal has bars, and words for who does not see them", () => {
  const bars = [-40, -60, -70, -90, null].map((dbm) => signalOf(dbm).bars);
  assert.deepEqual(bars, [4, 3, 2, 1, 0]);
  assert.equal(signalOf(-61).words, "Good signal, -61 dBm");
});

test("one sign speaks for all that share its light; those that are seen come first", () => {
  const fleet = [sign("a"), sign("b"), sign("c", {rule: {minCount: 2}}), sign("d", {connected: false, rule: {minCount: 9}})];
  assert.deepEqual([...askable(fleet, [fleet[1]]).values()], ["b", "c"]);
});

test("the lights are asked about anew when somebody comes, and when a delay is over", async () => {
  const asked = [];
  const timers = [];
  let light = {on: false};
  let changed = 0;
  const book = new LightBook({
    explain: async (id) => (asked.push(id), {shown: light, pending: [{remainingS: 3}]}),
    later: (call, ms) => timers.push({call, ms}),
    cancel: () => {},
    changed: () => changed++,
  });
  const settle = () => new Promise((done) => setImmediate(done));
  book.want(askable([sign("a")], []));
  await settle();
  assert.deepEqual([asked, changed, timers[0].ms], [["a"], 1, 3100]);
  light = {on: true};
  book.stir();
  book.stir();
  assert.equal(timers.length, 2, "of many changes one question");
  timers[1].call();
  await settle();
  assert.deepEqual([asked.length, changed, book.of(sign("z"))], [2, 2, {on: true}]);
  assert.equal(book.of(sign("z", {connected: false})), null);
});

test("a sign that has just come, and was told nothing yet, is asked about again soon", async () => {
  const waits = [];
  const book = new LightBook({
    explain: async () => ({shown: null, pending: []}),
    later: (_, ms) => waits.push(ms),
    cancel: () => {},
    changed: () => {},
  });
  book.want(askable([sign("a")], []));
  await new Promise((done) => setImmediate(done));
  assert.deepEqual([waits, book.of(sign("a"))], [[1000], null]);
});

test("a rule that is opened and saved says what it said", () => {
  const rules = [
    null,
    {},
    {minCount: 3, roles: ["2", "1"], countBots: false, unknown: "off"},
    {offDelayS: 2.5, quiet: [{days: ["mon"], from: "23:00", to: "07:00", tz: "UTC"}], color: "#ff0000"},
  ];
  for (const rule of rules) assert.ok(sameRule(ruleOf(draftOf(rule)), rule ?? {}));
  assert.deepEqual(ruleOf(draftOf({minCount: 1, guilds: []})), {});
  assert.deepEqual(ruleOf({...draftOf(null), minCount: "two"}), {minCount: "two"});
  const night = {...draftOf(null), quiet: [newHours("Europe/Berlin")]};
  assert.deepEqual(ruleOf(night).quiet, [{from: "23:00", to: "08:00", tz: "Europe/Berlin"}]);
});

test("an error is shown at the field that it names", () => {
  const error = {
    code: "VALIDATION_FAILED",
    message: 'quiet[0].tz should be a time zone such as "Europe/Berlin"',
    details: {key: "rule.quiet[0].tz"},
  };
  assert.deepEqual(problemOf(error), {
    field: "quiet",
    key: "quiet[0].tz",
    message: 'Should be a time zone such as "Europe/Berlin"',
  });
  assert.equal(problemOf({code: "UNREACHABLE", message: "away"}).field, "");
});

test("an expert's text is a rule, or it is said why not", () => {
  assert.deepEqual(readRule('{"minCount": 2}').rule, {minCount: 2});
  for (const text of ["", "[]", "null", "{"]) assert.ok(readRule(text).problem);
});

test("a rule is told in words", () => {
  const said = conditions({minCount: 2, channels: ["1"], offDelayS: 90}, (kind, id) => `${kind} ${id}`);
  assert.deepEqual(said.map(({label, text}) => `${label} ${text}`), [
    "Needs 2 people in voice",
    "In the channels channels 1",
    "Goes off after 1 min",
  ]);
  assert.equal(
    hoursIn({days: ["sun", "mon", "tue", "wed", "thu"], from: "23:00", to: "08:00", tz: "UTC"}),
    "Sun to Thu, 23:00–08:00 (UTC)",
  );
  const told = explained({source: "device", excluded: {bot: 1, afk: 2}, pending: [{kind: "offDelay", remainingS: 11.2}], guilds: {known: 1}});
  assert.deepEqual(told.excluded, ["1 is a bot", "2 are in the AFK channel"]);
  assert.deepEqual(told.pending, ["goes off in 12 s, if nobody comes"]);
});

test("spans and sizes are short", () => {
  assert.deepEqual([5, 90, 7200, 200_000].map(span), ["5 s", "1 min", "2 h", "2 d"]);
  assert.equal(bytes(412_688), "413 kB");
});

test("a rule's ids have the names that are known, and stay ids where none is", () => {
  const channels = [
    {id: "10", name: "Main", type: 4, parentId: null},
    {id: "11", name: "Lounge", type: 2, parentId: "10"},
    {id: "12", name: "general", type: 0, parentId: "10"},
  ];
  const more = new Map([["1", {roles: [{id: "5", name: "Crew"}], people: [{userId: "7", displayName: "Ada"}]}]]);
  const directory = directoryOf([{id: "1", name: "Guild", channels}], more);
  assert.deepEqual(directory.channels, [{id: "11", label: "Lounge", group: "Guild", detail: "Main"}]);
  assert.deepEqual(directory.roles.map(({label}) => label), ["Crew", "@everyone"]);
  const name = namesOf(directory);
  assert.deepEqual([name("users", "7"), name("categories", "10"), name("users", "8")], ["Ada", "Main", "8"]);
});
