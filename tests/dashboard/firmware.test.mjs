import assert from "node:assert/strict";
import {test} from "node:test";
import {oddPair, signedBy, sorted} from "../../voicestatus/web/dashboard/views/firmware/manifest.js";
import {newDraft, oddStages, planOf, stepOf, wordsOf} from "../../voicestatus/web/dashboard/views/firmware/plan.js";
import {problemOf} from "../../voicestatus/web/dashboard/views/firmware/problems.js";
import {merged, ordersFor, skips, stageBars, standing, statusOf, titleOf, totals} from "../../voicestatus/web/dashboard/views/firmware/progress.js";

const rollout = (more = {}) => ({
  id: "x",
  status: "running",
  createdAt: "2026-01-01T00:00:00Z",
  endedAt: null,
  stage: 1,
  soakUntil: null,
  reason: "",
  undoneBy: [],
  counts: {confirmed: 1, fetching: 2, rebooted: 1, failed: 1, pending: 5, skipped: 3},
  stages: [
    {size: 1, touched: 1, confirmed: 1, failed: 0},
    {size: 5, touched: 4, confirmed: 0, failed: 1},
    {size: 10, touched: 0, confirmed: 0, failed: 0},
  ],
  ...more,
});

test("a draft as it begins is the careful plan that the server makes by itself", () => {
  const plan = planOf(newDraft(["r"]));
  assert.deepEqual(plan.releases, ["r"]);
  assert.deepEqual(plan.stages.map(({count, percent}) => count ?? `${percent} %`), [1, "10 %", "50 %", "100 %"]);
  assert.deepEqual(plan.stages[0], {count: 1, successPercent: 90, soakS: 600});
  assert.deepEqual(plan.haltAt, {percent: 20, count: null});
  assert.equal("target" in plan, false);
});

test("what cannot be read goes as it is, so that the server names it", () => {
  const draft = {...newDraft(["r"]), stages: [{size: "some", soakMin: ""}], tags: ["desk"]};
  const plan = planOf(draft);
  assert.deepEqual(plan.stages[0], {count: "some", successPercent: 90, soakS: ""});
  assert.deepEqual(plan.target, {tags: ["desk"]});
  assert.deepEqual(["releases", "target.tags[0]", "stages[0].count"].map(stepOf), [0, 1, 2]);
  assert.match(wordsOf("stages[0].count", "Expected `int`"), /percentage/);
  assert.match(wordsOf("haltAt.count", "Expected `int`"), /from 1/);
  assert.equal(wordsOf("releases", "as it is"), "as it is");
});

test("stages that leave somebody out, or spare nobody, are remarked upon", () => {
  assert.equal(oddStages([{size: "1"}, {size: "100 %"}]), "");
  assert.match(oddStages([{size: "10 %"}]), /not 100 %/);
  assert.match(oddStages([{size: "100%"}]), /all signs/);
});

test("a stage's bar shows what it adds, not what those before it did", () => {
  assert.deepEqual(stageBars(rollout()), [
    {adds: 1, good: 1, busy: 0, bad: 0, past: 0, state: "done"},
    {adds: 4, good: 0, busy: 3, bad: 1, past: 0, state: "now"},
    {adds: 5, good: 0, busy: 0, bad: 0, past: 0, state: "next"},
  ]);
  const forgiven = rollout({counts: {fetching: 1, failed: 2, pending: 5}});
  assert.deepEqual(stageBars(forgiven).map(({busy, past}) => [busy, past]), [[0, 0], [1, 2], [0, 0]]);
  assert.equal(stageBars(rollout({soakUntil: "2026-01-01T00:10:00Z"}))[1].state, "watched");
});

test("those that are skipped are no part of the whole", () => {
  assert.deepEqual(totals(rollout()), {total: 10, good: 1, busy: 3, bad: 1, waiting: 5, skipped: 3});
});

test("a rollout offers what it can be told, and no way back twice", () => {
  assert.deepEqual(ordersFor(rollout({status: "halted"})), ["resume", "abort", "rollback"]);
  assert.deepEqual(ordersFor(rollout({status: "finished", undoneBy: ["y"]})), []);
  assert.equal(statusOf(rollout({status: "aborted"})).words, "Aborting");
});

test("where it stands is one line", () => {
  assert.equal(standing(rollout(), 0), "Stage 2 of 3, 3 under way");
  const soaking = rollout({soakUntil: "1970-01-01T00:05:00Z"});
  assert.equal(standing(soaking, 60_000), "Stage 2 of 3 is full and being watched for 4 min more");
  const done = rollout({status: "finished", endedAt: "2026-01-01T01:00:00Z"});
  assert.equal(standing(done, 0), "1 sign of 10 updated, 1 failed");
});

test("the live channel is newer than the list, and the newest rollout comes first", () => {
  const listed = [rollout({id: "a"}), rollout({id: "b", plan: {}})];
  const live = [rollout({id: "b", stage: 2}), rollout({id: "c", createdAt: "2026-02-01T00:00:00Z"})];
  const all = merged(listed, live);
  assert.deepEqual(all.map(({id}) => id), ["c", "a", "b"]);
  assert.deepEqual([all[2].stage, all[2].plan], [2, {}]);
});

test("a rollout without a name is called by what it brings", () => {
  const releases = new Map([
    ["a", {version: "1.5.0", build: 20, chip: "esp32"}],
    ["b", {version: "1.5.0", build: 20, chip: "esp8266"}],
  ]);
  assert.equal(titleOf({name: "", releases: ["a", "b"]}, releases), "1.5.0 (build 20) for esp32, esp8266");
  assert.equal(titleOf({name: "", releases: ["a", "gone"]}, releases), "a, gone");
  assert.equal(titleOf({name: "Autumn", releases: ["a"]}, releases), "Autumn");
});

test("skips and refusals say what is the matter", () => {
  assert.deepEqual(skips({wrong_chip: 3, current: 1}), ["3 signs have another chip", "1 sign runs it already"]);
  assert.match(problemOf({code: "NO_SIGNING_KEYS", message: "no"}).run[0], /keygen/);
  const refused = {code: "IMAGE_REFUSED", message: "It is HTML.", details: {reason: "IMAGE_WEB_PAGE"}};
  assert.match(problemOf(refused).todo, /web page/);
  assert.equal(problemOf({code: "OTHER", message: "why"}).words, "why");
});

test("files are told apart by name or size, and an odd pair is remarked upon before it is sent", () => {
  const none = {image: null, manifest: null};
  const image = {name: "a.bin", size: 65_536};
  const manifest = {name: "a.bin.manifest", size: 192};
  const pair = sorted([manifest, image], none);
  assert.deepEqual(pair, {image, manifest});
  assert.equal(oddPair(pair), "");
  assert.match(oddPair(sorted([{name: "b.bin", size: 9}], pair)), /not named/);
  assert.match(oddPair(sorted([{name: "a.bin.manifest", size: 9}], pair)), /has 192/);
  assert.equal(sorted([{name: "renamed", size: 192}], none).manifest.name, "renamed");
});

test("a manifest names the key that signed it", () => {
  const bytes = new Uint8Array(192);
  bytes.set([0xa7, 0xae, 0xcc, 0x7f], 8);
  assert.equal(signedBy(btoa(String.fromCharCode(...bytes))), "a7aecc7f");
});
