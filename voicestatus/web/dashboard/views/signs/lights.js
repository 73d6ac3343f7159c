/**
 * Which light each sign shows. Signs that follow the same rule share one light, so one
 * of them is asked about for all: a fleet of thousands has few.
 */

/** Lights that are asked about though nobody looks at one of their signs. */
const MOST_UNSEEN = 48;
const AT_ONCE = 4;
/** Quiet hours and delays change a light, and nothing tells of it. */
const LOOK_AGAIN_MS = 15_000;
const AFTER_CHANGE_MS = 200;
/** One that has just come, or just went, is told its light by then, or gone from the list. */
const ARRIVED_MS = 1000;

const keys = new WeakMap();

/**
 * @param {object} device
 * @returns {string} the same for all devices that share one light
 */
export function keyOf(device) {
  if (device.rule === null) return `address ${device.path}`;
  if (!keys.has(device)) keys.set(device, JSON.stringify(device.rule));
  return keys.get(device);
}

/**
 * Say which lights to ask about, and through which device: those that are seen first,
 * then those that most signs share.
 * @param {Iterable<object>} devices
 * @param {Iterable<object>} seen
 * @returns {Map<string, string>} ids by key
 */
export function askable(devices, seen) {
  const wanted = new Map();
  const tally = new Map();
  const speaker = new Map();
  for (const device of devices) {
    if (!device.connected) continue;
    const key = keyOf(device);
    tally.set(key, (tally.get(key) ?? 0) + 1);
    if (!speaker.has(key)) speaker.set(key, device.id);
  }
  for (const device of seen) if (device.connected) wanted.set(keyOf(device), device.id);
  const rest = [...tally.keys()].sort((a, b) => tally.get(b) - tally.get(a));
  for (const key of rest.slice(0, MOST_UNSEEN)) {
    if (!wanted.has(key)) wanted.set(key, speaker.get(key));
  }
  return wanted;
}

/** Keeps the lights that are asked about, and asks again when they may have changed. */
export class LightBook {
  /**
   * @param {object} world
   * @param {(device: string) => Promise<object>} world.explain
   * @param {(call: () => void, ms: number) => unknown} world.later
   * @param {(timer: unknown) => void} world.cancel
   * @param {() => void} world.changed
   */
  constructor({explain, later, cancel, changed}) {
    Object.assign(this, {explain, later, cancel, changed});
    this.lights = new Map();
    this.wanted = new Map();
    this.due = new Set();
    this.asked = new Set();
    this.timers = new Map();
    this.look = null;
  }

  /**
   * @param {object} device
   * @returns {?object} what it shows; null: that is not known (yet), or it is away
   */
  of(device) {
    return device.connected ? (this.lights.get(keyOf(device)) ?? null) : null;
  }

  /** @param {Map<string, string>} wanted as `askable` makes it */
  want(wanted) {
    for (const key of wanted.keys()) if (!this.wanted.has(key)) this.due.add(key);
    this.wanted = wanted;
    for (const key of this.timers.keys()) if (!wanted.has(key)) this.#unset(key);
    this.#ask();
  }

  /** Ask about all of them anew: somebody came or went. */
  stir() {
    this.look ??= this.later(() => {
      this.look = null;
      for (const key of this.wanted.keys()) this.due.add(key);
      this.#ask();
    }, AFTER_CHANGE_MS);
  }

  stop() {
    this.cancel(this.look);
    this.wanted = new Map();
    for (const key of [...this.timers.keys()]) this.#unset(key);
  }

  #ask() {
    for (const key of this.due) {
      if (this.asked.size >= AT_ONCE) return;
      if (this.asked.has(key)) continue;
      this.due.delete(key);
      if (this.wanted.has(key)) this.#askAbout(key);
    }
  }

  async #askAbout(key) {
    this.asked.add(key);
    this.#unset(key);
    let waitMs = LOOK_AGAIN_MS;
    try {
      const {shown, pending} = await this.explain(this.wanted.get(key));
      if (shown !== null) this.#note(key, shown);
      const soonest = Math.min(...pending.map(({remainingS}) => remainingS)) * 1000 + 100;
      const most = shown === null ? ARRIVED_MS : waitMs;
      waitMs = Math.max(AFTER_CHANGE_MS, Math.min(most, soonest));
    } catch {
      // It is asked about again; until then it is as it was.
    } finally {
      this.asked.delete(key);
    }
    if (this.wanted.has(key)) {
      const again = () => {
        this.due.add(key);
        this.#ask();
      };
      this.timers.set(key, this.later(again, waitMs));
    }
    this.#ask();
  }

  #note(key, light) {
    const before = this.lights.get(key);
    this.lights.set(key, light);
    if (JSON.stringify(before) !== JSON.stringify(light)) this.changed();
  }

  #unset(key) {
    this.cancel(this.timers.get(key));
    this.timers.delete(key);
  }
}
