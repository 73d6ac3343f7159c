/** How figures are said, and what a histogram looks like. Pure. */

/** Say a time that something took: "< 1 ms", "2.5 ms", "1.2 s". */
export function took(seconds) {
  if (seconds === null) return "–";
  const ms = seconds * 1000;
  if (ms < 0.1) return `${trim(ms * 1000, 0)} µs`;
  return ms < 1000 ? `${trim(ms, ms < 10 ? 1 : 0)} ms` : `${trim(seconds, 1)} s`;
}

function trim(value, digits) {
  return Number(value.toFixed(digits)).toLocaleString("en");
}

/** Say how long it has been running: "3 d 4 h", "12 min". */
export function lasted(seconds) {
  const units = [["d", 86_400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, length]) => seconds >= length);
  if (first < 0) return "0 s";
  const shown = [];
  let left = seconds;
  for (const [unit, length] of units.slice(first, first + 2)) {
    const whole = Math.floor(left / length);
    left -= whole * length;
    if (whole > 0) shown.push(`${whole} ${unit}`);
  }
  return shown.join(" ");
}

/** Say a number of bytes. */
export function bytes(n) {
  if (n === null) return "–";
  const [unit, size] = n >= 2 ** 30 ? ["GB", 2 ** 30] : ["MB", 2 ** 20];
  return `${(n / size).toFixed(n / size < 10 ? 1 : 0)} ${unit}`;
}

/** What took longer is seen to be late. */
const SLOW_S = 0.1;

/**
 * Lay a histogram out: bars from 0 to 1, the highest being 1.
 * @param {{buckets: {upToS: number | null, count: number}[]}} histogram
 */
export function bars({buckets}) {
  const most = Math.max(1, ...buckets.map((bucket) => bucket.count));
  return buckets.map((bucket, at) => ({
    label: bucket.upToS === null ? `over ${took(buckets[at - 1]?.upToS ?? 0)}` : took(bucket.upToS),
    count: bucket.count,
    height: bucket.count / most,
    slow: bucket.upToS === null || bucket.upToS > SLOW_S,
  }));
}

/** Say a histogram in one sentence, for who does not see it. */
export function inWords(histogram, what) {
  if (histogram.count === 0) return `${what}: nothing was measured yet.`;
  const of = bars(histogram)
    .filter((bar) => bar.count > 0)
    .map((bar) => `${bar.count.toLocaleString("en")} ${bar.label.startsWith("over") ? bar.label : `up to ${bar.label}`}`);
  return `${what}: ${of.join(", ")}.`;
}

const STATES = {
  ready: ["good", "Ready"],
  resuming: ["warn", "Resuming"],
  identifying: ["warn", "Identifying"],
  connecting: ["warn", "Connecting"],
  waiting: ["warn", "Waiting"],
  stopped: ["bad", "Stopped"],
  elsewhere: ["", "At another node"],
};

/** A tone and a word for the state of a link. */
export function stateOf(state) {
  return STATES[state] ?? ["", state];
}
