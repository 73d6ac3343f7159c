/** A sign's serial console, by Web Serial: it is sent its settings and heard out. */

import {LISTEN, lines, meaning} from "./config.js";

const BAUD = 115_200;
const ASK_EVERY_MS = 1000;
/** Opening the port starts most boards anew: so long may it take until one listens. */
const HERE_WITHIN_MS = 20_000;
const SAVED_WITHIN_MS = 5000;

/** Whether this browser has it, here. */
export function canTalk() {
  return "serial" in navigator && isSecureContext;
}

/**
 * Let somebody choose a port, and send the sign there its settings.
 * @param {string} line
 * @param {(step: "opened" | "here") => void} tell
 * @returns {Promise<boolean>} false: no port was chosen
 * @throws {Error} in words: nothing there answers, or it refuses
 */
export async function sendConfig(line, tell) {
  let port;
  try {
    port = await navigator.serial.requestPort();
  } catch (error) {
    if (error.name === "NotFoundError") return false;
    throw error;
  }
  await port.open({baudRate: BAUD});
  try {
    tell("opened");
    const console_ = new Console(port);
    try {
      await console_.askUntil("PING", "here", HERE_WITHIN_MS);
      tell("here");
      await console_.say(LISTEN);
      await console_.askUntil(line, "saved", SAVED_WITHIN_MS, SAVED_WITHIN_MS);
    } finally {
      await console_.end();
    }
  } finally {
    await port.close();
  }
  return true;
}

class Console {
  constructor(port) {
    this.writer = port.writable.getWriter();
    this.reader = port.readable.getReader();
    this.heard = () => {};
    this.ended = this.read();
  }

  say(line) {
    return this.writer.write(new TextEncoder().encode(`${line}\n`));
  }

  /** Say a line, again and again, until its answer comes. */
  askUntil(line, wanted, withinMs, everyMs = ASK_EVERY_MS) {
    return new Promise((resolve, reject) => {
      const failed = (text) => {
        stop();
        reject(new Error(text));
      };
      const ask = () => this.say(line).catch(() => failed("The connection to the sign was lost."));
      const timer = setInterval(ask, everyMs);
      const late = setTimeout(() => failed(silence(wanted)), withinMs);
      const stop = () => {
        clearInterval(timer);
        clearTimeout(late);
        this.heard = () => {};
      };
      this.heard = (said) => {
        if (said === wanted) {
          stop();
          resolve();
        } else if (said === "refused" && wanted === "saved") {
          failed("The sign refuses these settings.");
        }
      };
      ask();
    });
  }

  async read() {
    const decoder = new TextDecoder();
    let rest = "";
    try {
      for (;;) {
        const {value, done} = await this.reader.read();
        if (done) return;
        const cut = lines(rest, decoder.decode(value, {stream: true}));
        rest = cut.rest;
        for (const line of cut.whole) this.heard(meaning(line));
      }
    } catch {
      // It was unplugged: whoever waits is told when time is up.
    }
  }

  async end() {
    await this.reader.cancel().catch(() => {});
    await this.ended;
    this.reader.releaseLock();
    await this.writer.close().catch(() => {});
    this.writer.releaseLock();
  }
}

function silence(wanted) {
  return wanted === "here"
    ? "Nothing there answers as a sign. Is it the right port, and does another program have it open?"
    : "The sign did not say that it kept the settings.";
}
