import assert from "node:assert/strict";
import {test} from "node:test";
import {bars, bytes, inWords, lasted, stateOf, took} from "../../voicestatus/web/dashboard/views/health/figures.js";

const HISTOGRAM = {count: 10, buckets: [{upToS: 0.0005, count: 8}, {upToS: 0.0025, count: 0}, {upToS: null, count: 2}]};

test("times are said in the unit that fits them", () => {
  assert.deepEqual(
    [null, 0, 0.00004, 0.0005, 0.0025, 0.0412, 0.9994, 1, 2.5].map(took),
    ["–", "0 µs", "40 µs", "0.5 ms", "2.5 ms", "41 ms", "999 ms", "1 s", "2.5 s"],
  );
  assert.deepEqual([0, 59, 61, 3600, 273_911].map(lasted), ["0 s", "59 s", "1 min 1 s", "1 h", "3 d 4 h"]);
  assert.deepEqual([null, 5 * 2 ** 20, 148_000_000, 3 * 2 ** 30].map(bytes), ["–", "5.0 MB", "141 MB", "3.0 GB"]);
});

test("a histogram's highest bar is as high as it can be", () => {
  assert.deepEqual(bars(HISTOGRAM).map(({label, height}) => [label, height]), [["0.5 ms", 1], ["2.5 ms", 0], ["over 2.5 ms", 0.25]]);
  assert.deepEqual(bars(HISTOGRAM).map(({slow}) => slow), [false, false, true]);
  assert.deepEqual(bars({count: 0, buckets: [{upToS: 1, count: 0}]}), [{label: "1 s", count: 0, height: 0, slow: true}]);
});

test("who does not see a histogram is told it", () => {
  assert.equal(inWords(HISTOGRAM, "Lag"), "Lag: 8 up to 0.5 ms, 2 over 2.5 ms.");
  assert.equal(inWords({count: 0, buckets: []}, "Lag"), "Lag: nothing was measured yet.");
});

test("a state that nobody knows here is shown as it is", () => {
  assert.deepEqual(stateOf("ready"), ["good", "Ready"]);
  assert.deepEqual(stateOf("dreaming"), ["", "dreaming"]);
});
