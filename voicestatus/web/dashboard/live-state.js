/**
 * What the live channel has told so far, folded into one picture. Pure.
 *
 * A device, guild, release or rollout that is told again is a new object; those that
 * are not are the same as before, so that what is shown of them need not be made anew.
 *
 * @typedef {object} Live
 * @property {Map<string, object>} devices by id
 * @property {Map<string, object>} guilds by id, with their channels in counts
 * @property {Map<string, object>} releases by id
 * @property {Map<string, object>} rollouts by id: those that have not
 *   ended when the snapshot was told
 * @property {boolean} ready Discord has named its guilds
 * @property {boolean} whole a snapshot was told to its end
 * @property {?Set<string>} told devices of the snapshot that is being told
 */

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;

/** @type {Live} */
export const NOTHING = Object.freeze({
  devices: new Map(),
  guilds: new Map(),
  releases: new Map(),
  rollouts: new Map(),
  ready: false,
  whole: false,
  told: null,
});

/**
 * Fold messages into a picture, in their order.
 * @param {Live} before
 * @param {object[]} messages as docs/admin-socket.md has them; others are passed over
 * @returns {Live} `before` itself, if nothing of it is different
 */
export function fold(before, messages) {
  const picture = new Picture(before);
  for (const message of messages) picture.take(message);
  return picture.now;
}

/**
 * Say how long to wait before dialling again: longer each time, and each page another
 * time, so that a server that comes back is not met by all of them at once.
 * @param {number} failures in a row
 * @param {() => number} random from 0 to 1
 * @returns {number} milliseconds
 */
export function waitMs(failures, random) {
  const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.max(0, failures - 1));
  return longest / 2 + (random() * longest) / 2;
}

class Picture {
  constructor(before) {
    this.now = before;
    this.mine = new Set();
  }

  take(message) {
    switch (message.type) {
      case "snapshot":
        return this.snapshot(message);
      case "device":
        return this.one("devices", message, message.device);
      case "presence":
        if ("ready" in message) this.set("ready", message.ready);
        return this.one("guilds", message, message.guild);
      case "release":
        return this.one("releases", message, message.release);
      case "rollout":
        return this.one("rollouts", message, message.rollout);
    }
  }

  snapshot({devices, more, presence, releases, rollouts}) {
    if (presence) {
      this.set("told", new Set());
      this.set("ready", presence.ready);
      this.all("guilds", presence.guilds);
      this.all("releases", releases ?? []);
      // One that ended while nobody listened is not told: the API knows how.
      this.all("rollouts", rollouts ?? []);
    }
    for (const device of devices) this.one("devices", {}, device);
    if (!more) this.complete();
  }

  /** Forget the devices of a snapshot before this one that are not there any more. */
  complete() {
    const {told, devices} = this.now;
    const gone = told === null ? [] : [...devices.keys()].filter((id) => !told.has(id));
    for (const id of gone) this.map("devices").delete(id);
    this.set("told", null);
    this.set("whole", true);
  }

  one(kind, {id, gone}, value) {
    if (gone) {
      if (this.now[kind].has(id)) this.map(kind).delete(id);
    } else if (value) {
      this.map(kind).set(value.id, value);
      if (kind === "devices") this.now.told?.add(value.id);
    }
  }

  all(kind, values) {
    this.set(kind, new Map(values.map((value) => [value.id, value])));
    this.mine.add(kind);
  }

  /** Return a map that may be changed: not the one of before. */
  map(kind) {
    if (!this.mine.has(kind)) {
      this.mine.add(kind);
      this.set(kind, new Map(this.now[kind]));
    }
    return this.now[kind];
  }

  set(key, value) {
    if (this.now[key] !== value) this.now = {...this.now, [key]: value};
  }
}
