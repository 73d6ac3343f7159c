/** Rules, and what becomes of them, in words. Pure. */

import {count} from "../../words.js";
import {span} from "../fleet/sizes.js";

const DAY_NAMES = {mon: "Mon", tue: "Tue", wed: "Wed", thu: "Thu", fri: "Fri", sat: "Sat", sun: "Sun"};
const WEEK = Object.keys(DAY_NAMES);

/** Why somebody in voice does not count: what `excluded` calls it. */
const EXCLUDED = {
  guild: ["is on another server", "are on other servers"],
  channel: ["is in another channel", "are in other channels"],
  category: ["is in another category", "are in other categories"],
  afk: ["is in the AFK channel", "are in the AFK channel"],
  bot: ["is a bot", "are bots"],
  self: ["is our own bot", "are our own bot"],
  user: ["is not one of the people", "are not of the people"],
  role: ["has none of the roles", "have none of the roles"],
  notStreaming: ["does not stream", "do not stream"],
};

const PENDING = {
  onDelay: (left) => `goes on in ${left}, if enough of them stay`,
  offDelay: (left) => `goes off in ${left}, if nobody comes`,
  minOn: (left) => `stays on for ${left} at least`,
  unknown: (left) => `goes dark in ${left}, if Discord is not back`,
  quiet: (left) => `quiet hours last for another ${left}`,
};

const KNOWLEDGE = {
  known: "in sight",
  stale: "as last seen: the link to Discord is away",
  unknown: "never seen yet",
  absent: "the bot is not there",
};

const SOURCES = {
  device: "This sign's own rule",
  address: "The rule in this sign's address",
  default: "No rule: anybody in voice lights it",
};

/**
 * Say what a rule asks for, one condition a line.
 * @param {?object} rule
 * @param {(kind: string, id: string) => string} name what an id is called
 * @returns {{label: string, text: string}[]}
 */
export function conditions(rule, name) {
  const {minCount = 1, quiet = [], ...said} = rule ?? {};
  const listed = (kind) => said[kind].map((id) => name(kind, id)).join(", ");
  const lines = [{label: "Needs", text: count(minCount, "person", "people") + " in voice"}];
  const add = (label, text) => lines.push({label, text});
  if (said.guilds) add("On", listed("guilds"));
  if (said.categories) add("In the categories", listed("categories"));
  if (said.channels) add("In the channels", listed("channels"));
  if (said.users) add("Only", listed("users"));
  if (said.roles) add("With a role", listed("roles"));
  if (said.streaming) add("Doing", "streaming");
  if (said.speaking) add("Doing", "speaking");
  if (said.event) add("While", "an event runs");
  if (said.countBots !== undefined) add("Bots", said.countBots ? "count" : "do not count");
  if (said.countAfk !== undefined) add("AFK channel", said.countAfk ? "counts" : "does not count");
  if (said.onDelayS) add("Goes on after", span(said.onDelayS));
  if (said.offDelayS) add("Goes off after", span(said.offDelayS));
  if (said.minOnS) add("Stays on for", `${span(said.minOnS)} at least`);
  for (const hours of quiet) add("Quiet", hoursIn(hours));
  if (said.unknown) add("Discord away", said.unknown === "off" ? "goes dark" : "keeps its last light");
  return lines;
}

/**
 * @param {{days?: string[], from: string, to: string, tz: string}} hours
 * @returns {string} such as `Sun to Thu, 23:00–08:00 (Europe/Berlin)`
 */
export function hoursIn({days = WEEK, from, to, tz}) {
  return `${daysIn(days)}, ${from}–${to} (${tz})`;
}

/**
 * Tell an explanation as it is read: what it came to, and what led to it.
 * @param {object} told of `GET …/explain` or `POST /rules/dry-run`
 * @returns {{excluded: string[], pending: string[], guilds: string[], source: string}}
 */
export function explained(told) {
  return {
    source: SOURCES[told.source] ?? "",
    excluded: Object.entries(told.excluded).map(([why, n]) => {
      const [one, many] = EXCLUDED[why] ?? [why, why];
      return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
    }),
    pending: told.pending.map(({kind, remainingS}) => {
      const left = span(Math.ceil(remainingS));
      return PENDING[kind]?.(left) ?? `${kind}: ${left}`;
    }),
    guilds: Object.entries(told.guilds).map(([state, n]) => {
      return `${count(n, "server")} ${KNOWLEDGE[state] ?? state}`;
    }),
  };
}

/**
 * @param {?object} light
 * @returns {string} such as `On, 3 counted`
 */
export function lightIn(light) {
  if (light === null || light === undefined) return "Not known";
  if (!light.known) return "Waits for Discord";
  return light.on ? "Lit" : "Dark";
}

function daysIn(days) {
  if (days.length === WEEK.length) return "Every day";
  const at = WEEK.map((day) => days.includes(day));
  // A run that goes over the end of the week is one run: Sun to Thu.
  const first = at.findIndex((is, n) => is && !at[(n + 6) % 7]);
  const turned = [...WEEK.slice(first), ...WEEK.slice(0, first)].filter((day) => days.includes(day));
  const run = turned.every((day, n) => day === WEEK[(first + n) % 7]);
  if (run && turned.length > 2) return `${DAY_NAMES[turned[0]]} to ${DAY_NAMES[turned.at(-1)]}`;
  return WEEK.filter((day) => days.includes(day)).map((day) => DAY_NAMES[day]).join(", ");
}
