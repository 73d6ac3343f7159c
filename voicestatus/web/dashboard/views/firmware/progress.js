/** How far a rollout is, as it is drawn and said. Pure. */

import {count} from "../../words.js";
import {span} from "../fleet/sizes.js";

/** What may be said to it, by its status. */
const ORDERS = {
  running: ["pause", "abort", "rollback"],
  paused: ["resume", "abort", "rollback"],
  halted: ["resume", "abort", "rollback"],
  aborted: ["rollback"],
  rolling_back: [],
  finished: ["rollback"],
};

const STATUSES = {
  running: {words: "Running", tone: "accent"},
  paused: {words: "Paused", tone: "warn"},
  halted: {words: "Halted", tone: "bad"},
  aborted: {words: "Aborted", tone: "muted"},
  rolling_back: {words: "Going back", tone: "warn"},
  finished: {words: "Finished", tone: "good"},
};

/** Phases in the order in which a sign goes through them. */
export const PHASES = [
  {id: "pending", words: "Waiting", tone: "muted"},
  {id: "offered", words: "Offered", tone: "accent"},
  {id: "fetching", words: "Fetching", tone: "accent"},
  {id: "fetched", words: "Restarting", tone: "accent"},
  {id: "rebooted", words: "Being watched", tone: "accent"},
  {id: "confirmed", words: "Updated", tone: "good"},
  {id: "failed", words: "Failed", tone: "bad"},
  {id: "skipped", words: "Skipped", tone: "muted"},
  {id: "superseded", words: "In a newer rollout", tone: "muted"},
];

const UNDER_WAY = ["offered", "fetching", "fetched", "rebooted"];

/** Skips that are as it should be, and why; the others say what could be done. */
const SKIPS = {
  current: "run it already",
  newer: "run something newer",
  unknown_chip: "have a chip that is not known",
  unclear_chip: "could take several of these releases",
  wrong_chip: "have another chip",
  wrong_board: "are another board",
  not_for_legacy: "are old signs, and no release here is allowed for such",
  cannot_update: "cannot update over the air",
  unknown_build: "do not say what they run",
  too_old: "need a build in between first",
  no_room: "have no room for the image",
  revoked: "are revoked",
  not_approved: "wait to be approved",
  untrusted: "would get a release whose key is not trusted any more",
  expired: "would get a release whose date is over",
  failed_before: "failed with it before",
  other_rollout: "are in another rollout",
  outside: "are not in the target any more",
  forgotten: "were forgotten",
  not_sent: "could not be offered it: PUBLIC_URL is not set",
  aborted: "had no turn before it was aborted",
  away: "were away for too long",
  beyond: "are beyond the last stage",
  release_gone: "would get a release that was deleted",
};

/**
 * @typedef {object} StageBar
 * @property {number} adds devices that this stage adds
 * @property {number} good
 * @property {number} busy under way
 * @property {number} bad
 * @property {number} past touched, and forgiven, skipped, or waiting again
 * @property {"done" | "now" | "watched" | "next"} state
 */

/**
 * @param {object} rollout
 * @returns {StageBar[]}
 */
export function stageBars(rollout) {
  const over = rollout.endedAt !== null;
  let {busy: left} = totals(rollout);
  const bars = rollout.stages.map(({size, touched, confirmed, failed}, n) => {
    const adds = size - (rollout.stages[n - 1]?.size ?? 0);
    let state = n < rollout.stage || (over && rollout.status === "finished") ? "done" : "next";
    if (!over && n === rollout.stage) state = rollout.soakUntil ? "watched" : "now";
    const open = Math.max(0, touched - confirmed - failed);
    return {adds: Math.max(adds, touched), good: confirmed, bad: failed, open, state};
  });
  // Stages do not say which of theirs are under way: mostly those of the latest.
  return bars.reverse().map(({open, ...bar}) => {
    const busy = Math.min(open, left);
    left -= busy;
    return {...bar, busy, past: open - busy};
  }).reverse();
}

/**
 * @param {object} rollout
 * @returns {{total: number, good: number, busy: number, bad: number, waiting: number,
 *   skipped: number}} of the devices that it is for, without those that are skipped
 */
export function totals({counts}) {
  const of = (phase) => counts[phase] ?? 0;
  const busy = UNDER_WAY.reduce((sum, phase) => sum + of(phase), 0);
  const [good, bad, waiting] = [of("confirmed"), of("failed"), of("pending")];
  const skipped = of("skipped") + of("superseded");
  return {total: good + busy + bad + waiting, good, busy, bad, waiting, skipped};
}

/** @param {object} rollout @returns {string[]} of pause, resume, abort, rollback */
export function ordersFor({status, undoneBy}) {
  const orders = ORDERS[status] ?? [];
  return undoneBy.length > 0 ? orders.filter((order) => order !== "rollback") : orders;
}

/** @param {object} rollout @returns {{words: string, tone: string}} */
export function statusOf({status, endedAt}) {
  if (status === "aborted" && endedAt === null) return {words: "Aborting", tone: "warn"};
  return STATUSES[status] ?? {words: status, tone: "muted"};
}

/**
 * @param {object} rollout
 * @param {Map<string, object>} releases by id; deleted ones are not there any more
 * @returns {string} its name, or what it brings
 */
export function titleOf({name, releases: ids}, releases) {
  if (name) return name;
  const known = ids.map((id) => releases.get(id)).filter(Boolean);
  if (known.length < ids.length) return ids.join(", ");
  const versions = new Set(known.map(({version, build}) => `${version} (build ${build})`));
  return `${[...versions].join(", ")} for ${known.map(({chip}) => chip).join(", ")}`;
}

/** @param {object} rollout @returns {boolean} whether more may become of it */
export function isAlive(rollout) {
  return rollout.endedAt === null;
}

/**
 * Say where it stands, in one line.
 * @param {object} rollout
 * @param {number} now milliseconds
 * @returns {string}
 */
export function standing(rollout, now) {
  const {status, stage, stages, soakUntil, reason} = rollout;
  const where = `stage ${stage + 1} of ${stages.length}`;
  const {total, good, bad, busy} = totals(rollout);
  if (status === "halted") return `Stopped in ${where}: ${reason}`;
  if (!isAlive(rollout)) {
    const failed = bad ? `, ${bad} failed` : "";
    return `${count(good, "sign")} of ${total.toLocaleString("en")} updated${failed}`;
  }
  if (status === "paused") return `Paused in ${where}${busy ? `, ${busy} still under way` : ""}`;
  if (soakUntil !== null) {
    const left = span(Math.max(1, (Date.parse(soakUntil) - now) / 1000));
    return `${capital(where)} is full and being watched for ${left} more`;
  }
  return `${capital(where)}${busy ? `, ${busy} under way` : ", waiting for signs to come"}`;
}

/**
 * @param {Record<string, number>} skippedBy
 * @returns {string[]} such as `3 signs have another chip`, the most first
 */
export function skips(skippedBy) {
  return Object.entries(skippedBy)
    .sort(([, a], [, b]) => b - a)
    .map(([why, n]) => {
      const words = SKIPS[why] ?? why;
      return `${count(n, "sign")} ${n === 1 ? singular(words) : words}`;
    });
}

/**
 * @param {{phase: string, why: string, reason: string}} device of a rollout
 * @returns {string} why it failed or is skipped, or nothing
 */
export function reasonOf({phase, why, reason}) {
  return phase === "skipped" && why in SKIPS ? capital(singular(SKIPS[why])) : capital(reason);
}

/**
 * Put what the list has and what the live channel told together, the newest first.
 * @param {object[]} listed
 * @param {Iterable<object>} live
 * @returns {object[]}
 */
export function merged(listed, live) {
  const all = new Map(listed.map((rollout) => [rollout.id, rollout]));
  for (const rollout of live) all.set(rollout.id, {...all.get(rollout.id), ...rollout});
  return [...all.values()].sort((a, b) => Number(a.createdAt < b.createdAt) - Number(a.createdAt > b.createdAt));
}

/** @param {string} text @returns {string} with a capital and a full stop */
export function sentence(text) {
  return text && `${capital(text)}.`;
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function singular(words) {
  return words.replace(
    /^(run|have|are|need|do|wait|were)\b/,
    (verb) => ({run: "runs", have: "has", are: "is", need: "needs", do: "does", wait: "waits", were: "was"})[verb],
  );
}
