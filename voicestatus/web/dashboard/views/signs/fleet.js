/** The fleet as it is looked at: what state a sign is in, who is found, in which order. Pure. */

/**
 * @typedef {"online" | "away" | "waiting" | "revoked"} State
 * @typedef {object} Query
 * @property {string} text all of its words are somewhere in what is known of a sign
 * @property {string} tag or empty
 * @property {string} state a State, `stranger`, `lit`, or empty
 * @property {string} chip or empty
 * @property {keyof typeof ORDERS} sort
 * @property {boolean} down
 */

/** @type {Query} */
export const ALL = Object.freeze({text: "", tag: "", state: "", chip: "", sort: "name", down: false});

const last = "\uffff";

const ORDERS = {
  name: ({order}) => order,
  state: ({state}) => ["waiting", "online", "away", "revoked"].indexOf(state),
  signal: ({device}) => -(device.connected ? (device.rssiDbm ?? -998) : -999),
  firmware: ({device}) => device.build ?? -1,
  chip: ({device}) => device.chip || last,
  seen: ({device}) => -(device.connected ? Infinity : Date.parse(device.lastSeen ?? 0)),
};

const known = new WeakMap();

/**
 * @param {object} device
 * @returns {State} `waiting` wants to be approved
 */
export function stateOf(device) {
  if (device.revoked) return "revoked";
  if (device.enrolled && !device.approved) return "waiting";
  return device.connected ? "online" : "away";
}

/**
 * Find signs, in order.
 * @param {Iterable<object>} devices
 * @param {Query} query
 * @param {(device: object) => boolean} [isLit] for those that are `lit`
 * @returns {object[]}
 */
export function find(devices, query, isLit = () => false) {
  const words = query.text.toLowerCase().split(/\s+/).filter(Boolean);
  const key = ORDERS[query.sort] ?? ORDERS.name;
  const found = [];
  for (const device of devices) {
    const entry = entryOf(device);
    if (takes(entry, query, words, isLit)) found.push([key(entry), entry.order, device]);
  }
  const turn = query.down ? -1 : 1;
  found.sort((a, b) => turn * compare(a[0], b[0]) || compare(a[1], b[1]));
  return found.map(([, , device]) => device);
}

/**
 * Count what one may filter by.
 * @param {Iterable<object>} devices
 * @returns {{all: number, connected: number, states: Map<string, number>,
 *   tags: Map<string, number>, chips: Map<string, number>}} the names in their order
 */
export function census(devices) {
  const states = new Map();
  const tags = new Map();
  const chips = new Map();
  let all = 0;
  let connected = 0;
  for (const device of devices) {
    all += 1;
    if (device.connected) connected += 1;
    add(states, stateOf(device));
    if (!device.enrolled) add(states, "stranger");
    if (device.chip) add(chips, device.chip);
    for (const tag of device.tags) add(tags, tag);
  }
  return {all, connected, states, tags: ordered(tags), chips: ordered(chips)};
}

/**
 * Say how strong a signal is.
 * @param {?number} dbm
 * @returns {{bars: 0 | 1 | 2 | 3 | 4, words: string}}
 */
export function signalOf(dbm) {
  if (dbm === null || dbm === undefined) return {bars: 0, words: "Signal not reported"};
  const at = [-55, -67, -75].findIndex((least) => dbm >= least);
  const bars = at < 0 ? 1 : 4 - at;
  return {bars, words: `${["Weak", "Fair", "Good", "Excellent"][bars - 1]} signal, ${dbm} dBm`};
}

/**
 * @param {string} text
 * @returns {string} sorted as people count: `lamp-2` before `lamp-10`
 */
export function natural(text) {
  return text.toLowerCase().replace(/\d+/g, (digits) => digits.padStart(12, "0"));
}

function entryOf(device) {
  let entry = known.get(device);
  if (entry === undefined) {
    const {id, name, tags, chip, board, fw, address} = device;
    const text = [name, id, ...tags, chip, board, fw, address ?? ""].join("\n").toLowerCase();
    entry = {device, text, order: natural(name || id), state: stateOf(device)};
    known.set(device, entry);
  }
  return entry;
}

function takes({device, text, state}, query, words, isLit) {
  return (
    words.every((word) => text.includes(word)) &&
    (!query.tag || device.tags.includes(query.tag)) &&
    (!query.chip || device.chip === query.chip) &&
    (!query.state ||
      query.state === state ||
      (query.state === "stranger" && !device.enrolled) ||
      (query.state === "lit" && isLit(device)))
  );
}

function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

function add(tally, name) {
  tally.set(name, (tally.get(name) ?? 0) + 1);
}

function ordered(tally) {
  return new Map([...tally].sort(([a], [b]) => compare(natural(a), natural(b))));
}
