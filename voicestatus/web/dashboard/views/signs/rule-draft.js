/**
 * A rule while it is edited: all its fields filled in, and back to what is saved. Pure.
 *
 * What a draft says is judged by the server, which names the key that is wrong; so it
 * keeps what was typed, be it right or not. docs/rules.md has all keys.
 */

export const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
export const PATTERNS = ["solid", "breathe", "blink", "rainbow"];
export const LISTS = ["guilds", "categories", "channels", "users", "roles"];

const NUMBERS = {minCount: 1, onDelayS: 0, offDelayS: 0, minOnS: 0, brightness: 255};
/** What is left out of a rule has these values. */
const DEFAULTS = Object.freeze({
  guilds: [],
  categories: [],
  channels: [],
  users: [],
  roles: [],
  streaming: false,
  speaking: false,
  event: false,
  countBots: null,
  countAfk: null,
  unknown: null,
  quiet: [],
  pattern: "solid",
  color: "#5865f2",
  ...NUMBERS,
});

/**
 * @param {?object} rule
 * @returns {object} each key of a rule; numbers as they are typed
 */
export function draftOf(rule) {
  const draft = {...DEFAULTS, ...rule};
  for (const key of Object.keys(NUMBERS)) draft[key] = String(draft[key]);
  draft.quiet = draft.quiet.map((hours) => ({...hours, days: hours.days ?? DAYS}));
  return draft;
}

/**
 * @param {object} draft
 * @returns {object} the rule, without what has its default
 */
export function ruleOf(draft) {
  const rule = {};
  for (const [key, value] of Object.entries(draft)) {
    const told = key in NUMBERS ? numberOf(value) : key === "quiet" ? value.map(hoursOf) : value;
    if (!same(told, DEFAULTS[key])) rule[key] = told;
  }
  return rule;
}

/**
 * @param {object} a a rule
 * @param {object} b
 * @returns {boolean} whether they say the same, in whatever order
 */
export function sameRule(a, b) {
  return same(sorted(ruleOf(draftOf(a))), sorted(ruleOf(draftOf(b))));
}

/**
 * Read what an expert typed.
 * @param {string} text
 * @returns {{rule: ?object, problem: string}} one of them
 */
export function readRule(text) {
  let rule;
  try {
    rule = JSON.parse(text);
  } catch (e) {
    return {rule: null, problem: `This is not JSON yet: ${e.message}`};
  }
  if (rule === null || typeof rule !== "object" || Array.isArray(rule)) {
    return {rule: null, problem: "A rule is a JSON object: {…}"};
  }
  return {rule, problem: ""};
}

/**
 * Say which field an error is about.
 * @param {{code: string, message: string, details?: {key?: string}}} error
 * @returns {{field: string, key: string, message: string}} `field` is a key of the rule
 *   (empty: none), `key` the whole way to what is wrong, such as `quiet[0].from`
 */
export function problemOf(error) {
  const told = error.details?.key ?? "";
  const key = told === "rule" ? "" : told.replace(/^rule\./, "");
  const field = key.match(/^\w*/)[0];
  const start = `${key} `;
  const message = key && error.message.startsWith(start) ? error.message.slice(start.length) : error.message;
  return {field, key, message: message.charAt(0).toUpperCase() + message.slice(1)};
}

/** @returns {object} quiet hours of a night, in the zone of who edits */
export function newHours(tz) {
  return {days: DAYS, from: "23:00", to: "08:00", tz};
}

function hoursOf({days, from, to, tz}) {
  const chosen = DAYS.filter((day) => days.includes(day));
  return chosen.length === DAYS.length ? {from, to, tz} : {days: chosen, from, to, tz};
}

function numberOf(text) {
  const number = text.trim() === "" ? NaN : Number(text);
  return Number.isFinite(number) ? number : text;
}

function same(a, b) {
  return JSON.stringify(a) === JSON.stringify(b);
}

function sorted(rule) {
  const entries = Object.entries(rule).map(([key, value]) => [
    key,
    LISTS.includes(key) ? [...value].sort() : value,
  ]);
  return entries.sort(([a], [b]) => (a < b ? -1 : 1));
}
