/** A rollout while it is asked for: what a wizard's fields mean as a plan. Pure. */

/**
 * @typedef {object} Draft
 * @property {string[]} releases
 * @property {string} name
 * @property {string[]} tags
 * @property {string[]} chips
 * @property {string[]} ids
 * @property {{size: string, soakMin: string}[]} stages `size` as `1` or `10 %`
 * @property {string} haltPercent
 * @property {string} haltCount
 * @property {string} successPercent
 * @property {string} stayMin
 * @property {string} ratePerMinute
 * @property {boolean} notWhileLit
 * @property {boolean} probe
 * @property {boolean} again
 * @property {?{days: string[], from: string, to: string, tz: string}} window
 */

/** Ways to begin with; the first is what the server does by itself. */
export const PACES = [
  {
    id: "careful",
    title: "Careful",
    words: "One sign, then a tenth, half, and all. Each watched for ten minutes.",
    stages: stagesOf(["1", "10 %", "50 %", "100 %"], "10"),
  },
  {
    id: "canary",
    title: "One sign first",
    words: "One sign is watched for an hour, then all get it.",
    stages: [{size: "1", soakMin: "60"}, {size: "100 %", soakMin: "10"}],
  },
  {
    id: "slow",
    title: "Over a day",
    words: "Five stages, watched for some hours each.",
    stages: stagesOf(["1", "5 %", "20 %", "50 %", "100 %"], "240"),
  },
];

const STEPS = {releases: 0, target: 1, name: 0};

/** What a field takes, by the last part of its key. */
const TAKES = {
  count: "A number of signs, such as 5, or a percentage, such as 10 %",
  percent: "More than 0 %, and 100 % at most",
  soakS: "Minutes: 0 to 43,200, which is 30 days",
  successPercent: "0 to 100",
  stayS: "Minutes: 0 to 43,200",
  ratePerMinute: "A whole number from 1 to 6,000",
};
const HALTS = {percent: "0 to 100", count: "A whole number from 1 on"};

/**
 * @param {string[]} releases
 * @returns {Draft}
 */
export function newDraft(releases) {
  return {
    releases,
    name: "",
    tags: [],
    chips: [],
    ids: [],
    stages: PACES[0].stages,
    haltPercent: "20",
    haltCount: "",
    successPercent: "90",
    stayMin: "5",
    ratePerMinute: "60",
    notWhileLit: false,
    probe: false,
    again: false,
    window: null,
  };
}

/**
 * @param {Draft} draft
 * @returns {object} the plan; what cannot be read goes as it is, for the server to name
 */
export function planOf(draft) {
  const {tags, chips, ids} = draft;
  const target = Object.fromEntries(
    Object.entries({tags, chips, ids}).filter(([, values]) => values.length > 0),
  );
  return {
    releases: draft.releases,
    ...(draft.name.trim() && {name: draft.name.trim()}),
    ...(Object.keys(target).length > 0 && {target}),
    stages: draft.stages.map(({size, soakMin}) => ({
      ...sizeOf(size),
      successPercent: number(draft.successPercent),
      soakS: minutes(soakMin),
    })),
    ratePerMinute: number(draft.ratePerMinute),
    haltAt: {
      percent: draft.haltPercent.trim() ? number(draft.haltPercent) : null,
      count: draft.haltCount.trim() ? number(draft.haltCount) : null,
    },
    gate: {stayS: minutes(draft.stayMin)},
    ...(draft.notWhileLit && {notWhileLit: true}),
    ...(draft.probe && {probe: true}),
    ...(draft.again && {again: true}),
    ...(draft.window && {windows: [draft.window]}),
  };
}

/**
 * @param {{size: string}[]} stages
 * @returns {string} what is odd about them, or nothing
 */
export function oddStages(stages) {
  const last = sizeOf(stages.at(-1)?.size ?? "");
  if (last.percent !== 100) {
    return "The last stage is not 100 %, so some signs will not get it.";
  }
  if (stages.length === 1) return "There is one stage only: a bad build would reach all signs.";
  return "";
}

/**
 * @param {string} key such as `stages[0].percent`
 * @returns {number} the wizard's step that has the field
 */
export function stepOf(key) {
  const field = key.match(/^\w*/)[0];
  return STEPS[field] ?? 2;
}

/**
 * Say in words what a field should be: the server does in those of its types.
 * @param {string} key
 * @param {string} message the server's
 * @returns {string}
 */
export function wordsOf(key, message) {
  const [, last] = key.match(/(\w+)$/) ?? [];
  const words = key.startsWith("haltAt") ? HALTS[last] : TAKES[last];
  return words ?? message;
}

/** @param {string[]} sizes @param {string} soakMin */
function stagesOf(sizes, soakMin) {
  return sizes.map((size) => ({size, soakMin}));
}

function sizeOf(text) {
  const found = text.trim().match(/^([0-9.]+)\s*(%?)$/);
  if (found === null) return {count: text.trim()};
  return found[2] ? {percent: Number(found[1])} : {count: Number(found[1])};
}

function number(text) {
  const value = text.trim() === "" ? NaN : Number(text);
  return Number.isFinite(value) ? value : text;
}

function minutes(text) {
  const value = number(text);
  return typeof value === "number" ? Math.round(value * 60) : value;
}
