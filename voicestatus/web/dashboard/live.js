/** The live channel of the admin side: one connection for the whole page, and its hook. */

import {useEffect, useReducer} from "./vendor/preact.js";
import {NOTHING, fold, waitMs} from "./live-state.js";

/** Changes are shown so often: the eye sees no more, and a table of thousands is redrawn. */
const SHOW_EVERY_MS = 120;
/** One who goes from one view to the next keeps the connection. */
const LINGER_MS = 10_000;
/** Source: docs/admin-socket.md, "Ending": who is let in no more need not dial again. */
const POLICY = 1008;

/**
 * @typedef {object} Now what the hook returns
 * @property {import("./live-state.js").Live} live
 * @property {"connecting" | "live" | "lost" | "refused"} link
 * @property {number} lostAt when it was lost, in milliseconds; 0 while it is not
 * @property {() => void} again dial at once
 */

/** Keeps a connection while somebody follows, and dials again when it breaks. */
export class LiveChannel {
  /**
   * @param {object} world
   * @param {() => WebSocket} world.dial
   * @param {(call: () => void, ms: number) => unknown} world.later
   * @param {(timer: unknown) => void} world.cancel
   * @param {() => number} world.random
   * @param {() => number} world.wall milliseconds
   */
  constructor({dial, later, cancel, random, wall}) {
    Object.assign(this, {dial, later, cancel, random, wall});
    this.followers = new Set();
    this.waiting = [];
    this.failures = 0;
    this.socket = null;
    this.redial = this.show = this.leave = null;
    this.now = {live: NOTHING, link: "connecting", lostAt: 0, again: () => this.again()};
  }

  /**
   * @param {() => void} changed called when `now` is another one
   * @returns {() => void} to be called by who follows no more
   */
  follow(changed) {
    this.followers.add(changed);
    this.cancel(this.leave);
    // Who comes anew after a refusal may have signed in meanwhile.
    const welcome = this.now.link !== "refused" || this.followers.size === 1;
    if (this.socket === null && this.redial === null && welcome) this.#open();
    return () => {
      this.followers.delete(changed);
      if (this.followers.size === 0) this.leave = this.later(() => this.#close(), LINGER_MS);
    };
  }

  /** Dial at once, instead of when its time has come. */
  again() {
    if (this.socket !== null) return;
    this.cancel(this.redial);
    this.redial = null;
    this.#open();
  }

  #open() {
    const socket = (this.socket = this.dial());
    if (this.now.link === "refused") this.#tell({link: "connecting"});
    socket.onmessage = ({data}) => this.#hear(JSON.parse(data));
    socket.onclose = ({code}) => {
      if (socket === this.socket) this.#lost(code);
    };
  }

  #close() {
    const {socket} = this;
    this.socket = null;
    socket?.close();
    this.cancel(this.redial);
    this.redial = null;
    this.#tell({link: "connecting", lostAt: 0});
  }

  #hear(message) {
    this.waiting.push(message);
    this.failures = 0;
    this.show ??= this.later(() => this.#shown(), SHOW_EVERY_MS);
  }

  #shown() {
    this.show = null;
    const live = fold(this.now.live, this.waiting.splice(0));
    const heard = this.socket !== null && live.told === null;
    this.#tell({live, ...(heard && {link: "live", lostAt: 0})});
  }

  #lost(code) {
    this.socket = null;
    const lostAt = this.now.lostAt || this.wall();
    if (code === POLICY) return this.#tell({link: "refused", lostAt});
    this.failures += 1;
    this.redial = this.later(() => {
      this.redial = null;
      this.#open();
    }, waitMs(this.failures, this.random));
    this.#tell({link: this.now.live.whole ? "lost" : "connecting", lostAt});
  }

  #tell(news) {
    this.now = {...this.now, ...news};
    for (const changed of this.followers) changed();
  }
}

let shared = null;

function channel() {
  if (shared === null) {
    const address = new URL("/admin/ws", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    shared = new LiveChannel({
      dial: () => new WebSocket(address),
      later: (call, ms) => setTimeout(call, ms),
      cancel: (timer) => clearTimeout(timer),
      random: Math.random,
      wall: Date.now,
    });
    addEventListener("online", () => shared.now.link === "lost" && shared.again());
  }
  return shared;
}

/**
 * Follow the live channel for as long as the component is there.
 * @returns {Now}
 */
export function useAdminSocket() {
  const [, draw] = useReducer((n) => n + 1, 0);
  useEffect(() => channel().follow(draw), []);
  return channel().now;
}
