/** How things are said: names, times, errors. Pure. */

const STEPS = [
  [60, "second", 1],
  [3600, "minute", 60],
  [86_400, "hour", 3600],
  [30 * 86_400, "day", 86_400],
  [365 * 86_400, "month", 30 * 86_400],
  [Infinity, "year", 365 * 86_400],
];
const RELATIVE = new Intl.RelativeTimeFormat("en", {numeric: "auto", style: "short"});
const WHOLE = new Intl.DateTimeFormat("en", {dateStyle: "medium", timeStyle: "medium"});

/**
 * Say how long ago something was, or in how long it will be.
 * @param {string} at ISO 8601
 * @param {number} now milliseconds
 */
export function ago(at, now) {
  const seconds = (Date.parse(at) - now) / 1000;
  if (Math.abs(seconds) < 10) return "just now";
  const [, unit, length] = STEPS.find(([below]) => Math.abs(seconds) < below);
  // What was just given for a week has a second less by now.
  const whole = seconds > 0 ? Math.round : Math.trunc;
  return RELATIVE.format(whole(seconds / length), unit);
}

/** Say a moment in full, in the reader's own time. */
export function inFull(at) {
  return WHOLE.format(new Date(at));
}

/** The letters that stand for someone whose picture is not there. */
export function initials(name) {
  const words = (name ?? "").split(/[\s_.\-|·]+/u).filter((word) => /[\p{L}\p{N}]/u.test(word));
  const letters = words.map((word) => word.match(/[\p{L}\p{N}]/u)[0]);
  if (letters.length === 0) return "?";
  const chosen = letters.length === 1 ? letters : [letters[0], letters.at(-1)];
  return chosen.join("").toLocaleUpperCase();
}

/** "1 person", "3 people". */
export function count(n, one, many = `${one}s`) {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

const BROWSERS = [
  [/Edg\//, "Edge"],
  [/OPR\//, "Opera"],
  [/Firefox\//, "Firefox"],
  [/Chrom(e|ium)\//, "Chrome"],
  [/Safari\//, "Safari"],
];
const SYSTEMS = [
  [/iPhone|iPad/, "iOS"],
  [/Android/, "Android"],
  [/Mac OS X/, "macOS"],
  [/Windows/, "Windows"],
  [/CrOS/, "ChromeOS"],
  [/Linux/, "Linux"],
];

/** Say what a browser is by what it calls itself: "Firefox on Linux". */
export function browserOf(agent) {
  const named = (table) => table.find(([pattern]) => pattern.test(agent))?.[1];
  const [browser, system] = [named(BROWSERS), named(SYSTEMS)];
  if (!browser) return agent || "Unknown browser";
  return system ? `${browser} on ${system}` : browser;
}

const HEADLINES = {
  UNREACHABLE: ["The server cannot be reached.", "It may be starting again; check your connection, too."],
  UNAUTHORIZED: ["You are not signed in.", ""],
  FORBIDDEN: ["You may not do this.", "Ask somebody who manages this community."],
  CSRF_REFUSED: ["The server did not take this page for its own.", "Reload it. Behind a proxy, PUBLIC_URL has to be set."],
  DISCORD_NOT_LINKED: ["This needs your Discord account.", "Sign out, and sign in again with Discord."],
  NOT_ORGANIZATION_MEMBER: ["You are not a member of this community.", ""],
  NO_LINKED_DISCORD_SERVER: ["No Discord server is linked.", "A manager can link one in the settings."],
  GUILD_NOT_FOUND: ["The bot is not in this Discord server.", "Invite it, or link another server."],
  ORGANIZATION_NOT_FOUND: ["This community is not known here.", ""],
  BOT_NOT_IN_SERVER: ["The bot is not in this Discord server.", "A manager can invite it."],
  ALREADY_IN_DISCORD_SERVER: ["You are in this server already.", ""],
  NO_INVITE_CHANNEL: ["There is no channel that the bot may invite to.", "A manager can choose one in the settings."],
  INVITE_LIMIT: ["This server has as many invites as Discord allows.", "Some have to be deleted in Discord's server settings."],
  MISSING_PERMISSION: ["The bot lacks a permission in Discord.", "A manager can update its permissions."],
  VERSION_CONFLICT: ["Somebody else changed this meanwhile.", "Look at what there is now, then change it again."],
  RATE_LIMITED: ["Too many requests.", ""],
  DISCORD_ERROR: ["Discord says no.", ""],
  DISCORD_UNAVAILABLE: ["Discord does not answer.", ""],
  STORE_UNAVAILABLE: ["The server's storage does not answer.", ""],
  STOPPING: ["The server is being restarted.", "Try again in a moment."],
};
const OWN_WORDS = new Set(["FORBIDDEN", "MISSING_PERMISSION", "DISCORD_ERROR", "BOT_NOT_IN_SERVER"]);

/**
 * Say what went wrong: a headline, what to do about it, and the request's name in the log.
 * @param {Error & {code?: string, details?: any, requestId?: string, retryAfterS?: number}} error
 */
export function sayError(error) {
  const [headline, advice] = HEADLINES[error.code] ?? [error.message || "Something went wrong.", ""];
  const known = error.code in HEADLINES;
  const said = known && OWN_WORDS.has(error.code) && error.message !== headline ? error.message : "";
  const wait = error.retryAfterS ? `Try again in ${count(Math.ceil(error.retryAfterS), "second")}.` : "";
  return {
    headline,
    advice: [said, advice, wait].filter(Boolean).join(" "),
    reference: known && error.code !== "DISCORD_ERROR" ? "" : (error.requestId ?? ""),
  };
}

/**
 * Tell which field of a form an error is about, and what is wrong with it.
 * @returns {Record<string, string>} by the names that the API uses
 */
export function fieldErrors(error) {
  const key = error?.details?.key;
  if (!key) return {};
  const field = String(key).split(/[.[]/)[0];
  return {[field]: error.message, ...(field === key ? {} : {[key]: error.message})};
}
