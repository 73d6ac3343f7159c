/** Spans and sizes in a few letters. Pure. */

const STEPS = [
  [60, "s", 1],
  [3600, "min", 60],
  [86_400, "h", 3600],
  [Infinity, "d", 86_400],
];

/**
 * @param {number} seconds
 * @returns {string} such as `45 s`, `3 min`, `2 h`, `9 d`
 */
export function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [, unit, size] = STEPS.find(([below]) => whole < below);
  return `${Math.floor(whole / size)} ${unit}`;
}

/**
 * @param {number} n bytes
 * @returns {string} such as `413 kB`
 */
export function bytes(n) {
  return n < 1_000_000 ? `${Math.max(1, Math.round(n / 1000))} kB` : `${(n / 1e6).toFixed(1)} MB`;
}
