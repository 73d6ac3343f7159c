/** What a new sign is told over its serial console, and what it answers. Pure. */

/** A line that is longer is not read. */
export const LINE_BYTES = 1024;

/**
 * Make the line that gives a sign its settings; what is empty is left out.
 * @param {{url?: string, token?: string, ssid?: string, password?: string}} settings
 */
export function configLine({url, token, ssid, password}) {
  const said = {wsUrl: url, authToken: token, wifiSsid: ssid, wifiPass: ssid ? password : ""};
  const given = Object.fromEntries(Object.entries(said).filter(([, value]) => value));
  return `CONFIG:${JSON.stringify(given)}`;
}

/** Firmware of version 1 takes settings in this mode alone; any other answers and goes on. */
export const LISTEN = "WEB_CONFIG";

/** Make what one types, to the same end. */
export function typed(line) {
  return `${LISTEN}\n${line}`;
}

/** Tell whether the console takes a line. */
export function fits(line) {
  return new TextEncoder().encode(line).length < LINE_BYTES;
}

/**
 * Tell where a sign dials: what the server's settings say, else this very address.
 * @param {{url: string | null, path: string}} provisioning
 * @param {{protocol: string, host: string}} here
 */
export function dialled({url, path}, here) {
  return url ?? `${here.protocol === "https:" ? "wss" : "ws"}://${here.host}${path}`;
}

/** Tell whether an address leads back to whoever dials it. */
export function isOwnMachine(url) {
  try {
    const {hostname} = new URL(url);
    return /^(localhost|.*\.localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
  } catch {
    return false;
  }
}

/** What is wrong with an address, in words; empty: nothing. */
export function addressProblem(url) {
  let parts;
  try {
    parts = new URL(url);
  } catch {
    return "This is no address: it looks like wss://signs.example/ws.";
  }
  if (!["ws:", "wss:"].includes(parts.protocol)) return "It begins with ws:// or wss://.";
  if (isOwnMachine(url)) return "A sign would look for the server on itself: name this machine as others reach it.";
  return "";
}

/**
 * Tell what a line of the console means for a sign that was sent its settings.
 * @param {string} line
 * @returns {"here" | "listens" | "saved" | "refused" | null}
 */
export function meaning(line) {
  const said = line.trim();
  if (said === "PONG") return "here";
  if (said === "OK:WEB_CONFIG_MODE") return "listens";
  if (said === "OK:CONFIG_SAVED" || said === "OK:NO_CHANGES") return "saved";
  return said.startsWith("ERR:") ? "refused" : null;
}

/** Cut text into lines as it comes; `rest` is a line that has not ended. */
export function lines(rest, text) {
  const parts = (rest + text).split(/\r?\n|\r(?!$)/);
  const left = parts.pop();
  // A console that never ends a line is no console.
  return {whole: parts, rest: left.slice(-LINE_BYTES)};
}
