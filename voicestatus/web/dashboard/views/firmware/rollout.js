/** One rollout: how far it is, what may be said to it, and who failed and why. */

import {html, useEffect, useState} from "../../vendor/preact.js";
import {send} from "../../api.js";
import {useAction, useFetch, useNow} from "../../hooks.js";
import {Badge, Button, Callout, Card, Confirm, Skeleton, Tabs, Time, toast} from "../../ui.js";
import {count} from "../../words.js";
import {Facts, Sheet} from "../fleet/sheet.js";
import {span} from "../fleet/sizes.js";
import {isAlive, ordersFor, sentence, skips, standing, statusOf, totals} from "./progress.js";
import {Failed, Signs} from "./rollout-signs.js";
import {Stages} from "./stages.js";
import {Trouble} from "./trouble.js";

const LABELS = {pause: "Pause", resume: "Resume", abort: "Abort", rollback: "Go back"};
const ICONS = {pause: "pause", resume: "play", abort: "stop", rollback: "refresh"};
const QUESTIONS = {
  resume: {
    title: "Go on?",
    words: "Its failures so far are forgiven: they halt nothing any more. The signs that failed stay as they are.",
    action: "Resume",
  },
  abort: {
    title: "Abort this rollout?",
    words: "Nothing more is offered, for good. Signs that fetch it just now go on.",
    action: "Abort it",
    danger: true,
  },
  rollback: {
    title: "Go back?",
    words:
      "It is aborted, and old signs are given back what they ran before, if that is a release they may have. " +
      "Signs that check signatures take no lower build: build the old code with a higher number for them.",
    action: "Go back",
    danger: true,
  },
};

const MOST_NAMED = 20;

/** A rollout as one of many. @param {{rollout: object, title: string, onOpen: () => void}} props */
export function RolloutCard({rollout, title, onOpen}) {
  const now = useNow(isAlive(rollout) ? 10 : 0);
  const status = statusOf(rollout);
  return html`<${Card} class=${`rollout-card ${status.tone}`}>
    <div class="rollout-head">
      <h2><button type="button" class="rollout-open" onClick=${onOpen}>${title}</button></h2>
      <${Badge} tone=${badge(status.tone)}>${status.words}<//>
    </div>
    <${Stages} rollout=${rollout} />
    <p class="muted small">${standing(rollout, now)}</p>
  <//>`;
}

/**
 * @param {{id: string, live: ?object, titleOf: (rollout: object) => string,
 *   nameOf: (device: string) => string, onClose: () => void, onOpen: (id: string) => void}} props
 *   `live`: what the live channel told of it
 */
export function RolloutSheet({id, live, titleOf, nameOf, onClose, onOpen}) {
  const path = `/firmware/rollouts/${encodeURIComponent(id)}`;
  const [everyS, setEveryS] = useState(0);
  const {data, error, loading, again} = useFetch(path, {everyS});
  const rollout = data && {...data, ...live};
  const alive = rollout !== undefined && isAlive(rollout);
  useEffect(() => setEveryS(alive ? 5 : 0), [alive]);
  // The live channel tells the counts; names and reasons are asked for.
  const stirred = live && JSON.stringify([live.status, live.counts, live.stage]);
  useEffect(() => {
    if (data) again();
  }, [stirred]);
  const now = useNow(alive ? 5 : 0);
  return html`<${Sheet} wide onClose=${onClose}
    title=${rollout ? titleOf(rollout) : "Rollout"}
    sub=${rollout && html`<div class="sign-standing">
      <${Badge} tone=${badge(statusOf(rollout).tone)}>${statusOf(rollout).words}<//>
      <span class="muted small">${standing(rollout, now)}</span>
    </div>`}
  >
    ${loading && html`<${Skeleton} lines=${6} tall />`}
    ${error && html`<${Trouble} error=${error} again=${again} />`}
    ${rollout && html`<${Report} ...${{rollout, path, again, nameOf, onOpen}} />`}
  <//>`;
}

function Report({rollout, path, again, nameOf, onOpen}) {
  const [tab, setTab] = useState("signs");
  const {total, good, bad, busy, waiting, skipped} = totals(rollout);
  const numbers = [
    ["Updated", good, "good"],
    ["Under way", busy, "info"],
    ["Waiting", waiting, ""],
    ["Failed", bad, "bad"],
    ["Skipped", skipped, ""],
  ];
  const reasons = skips(rollout.skippedBy ?? {});
  return html`
    ${rollout.status === "halted" && html`<${Callout} tone="bad" role="alert" title="It has stopped by itself">
      <p>${sentence(rollout.reason)} What is under way is followed to its end; nothing more is offered until you say so.</p>
    <//>`}
    <${Orders} rollout=${rollout} path=${path} again=${again} onOpen=${onOpen} />
    <${Stages} rollout=${rollout} />
    <dl class="numbers">${numbers.map(([name, n, tone]) => html`<div key=${name} class=${n > 0 ? tone : ""}>
      <dd>${n.toLocaleString("en")}</dd><dt>${name}</dt>
    </div>`)}</dl>
    ${!isAlive(rollout) && html`<p class="muted">${ending(rollout, total)}</p>`}
    ${bad > 0 && rollout.failed && html`<${Failed} ...${{rollout, path, again, nameOf}} />`}
    <${Tabs} label="Of this rollout" value=${tab} onChange=${setTab} tabs=${[
      {id: "signs", label: "Signs"},
      {id: "skipped", label: "Why skipped", count: skipped},
      {id: "plan", label: "Plan"},
    ]} />
    ${tab === "signs" && html`<${Signs} path=${path} counts=${rollout.counts} nameOf=${nameOf} />`}
    ${tab === "skipped" && (reasons.length > 0
      ? html`<ul class="reasons">${reasons.map((text) => html`<li key=${text}>${text}</li>`)}</ul>`
      : html`<p class="muted">Nobody was left out.</p>`)}
    ${tab === "plan" && html`<${Plan} rollout=${rollout} />`}`;
}

function Orders({rollout, path, again, onOpen}) {
  const [asking, setAsking] = useState(null);
  const [back, setBack] = useState(null);
  const [order, busy, error] = useAction(async (what) => {
    const answer = await send("POST", `${path}/${what}`);
    setAsking(null);
    if (what === "rollback") setBack(answer);
    else toast({pause: "Paused", resume: "It goes on", abort: "Aborted"}[what], "good");
    await again();
  });
  const orders = ordersFor(rollout);
  const question = asking && QUESTIONS[asking];
  return html`
    ${orders.length > 0 && html`<div class="row">
      ${orders.map((what) => html`<${Button}
        key=${what} icon=${ICONS[what]} kind=${what === "resume" ? "primary" : "plain"}
        busy=${busy && what === "pause"} onClick=${() => (what in QUESTIONS ? setAsking(what) : order(what))}
      >${LABELS[what]}<//>`)}
    </div>`}
    ${error && !question && html`<${Trouble} error=${error} />`}
    ${back && html`<${WentBack} answer=${back} onOpen=${onOpen} />`}
    ${question && html`<${Confirm}
      ...${question} busy=${busy} onYes=${() => order(asking)} onClose=${() => setAsking(null)}
    >
      <p>${question.words}</p>
      ${error && html`<${Trouble} error=${error} />`}
    <//>`}`;
}

function WentBack({answer, onOpen}) {
  const {offered = 0, impossible = 0, needless = 0} = answer.counts;
  const reasons = new Map();
  for (const {can, reason} of answer.devices) {
    if (can === "impossible") reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  }
  const back = `${count(offered, "sign")} ${offered === 1 ? "goes" : "go"} back`;
  return html`<${Callout} tone=${impossible > 0 ? "warn" : "good"} title=${offered === 0 ? "No sign goes back" : back}
    actions=${answer.rollouts.map((id) => html`<${Button} key=${id} small onClick=${() => onOpen(id)}>Watch it<//>`)}
  >
    ${needless > 0 && html`<p>${count(needless, "sign")} had not taken it.</p>`}
    ${[...reasons].map(([reason, n]) => html`<p key=${reason}>${count(n, "sign")}: ${reason}.</p>`)}
  <//>`;
}

function Plan({rollout}) {
  const {plan, releases, createdAt, endedAt, id} = rollout;
  const kinds = Object.entries(plan.target ?? {}).filter(([, values]) => values.length > 0);
  return html`<${Facts} rows=${[
    ["Releases", html`<ul>${releases.map((one) => html`<li key=${one}><code>${one}</code></li>`)}</ul>`],
    ["To whom", kinds.map(wordsOfKind).join("; ") || "All signs that can take it"],
    ["Stages", plan.stages.map(wordsOfStage).join("; ")],
    ["Begun", html`<${Time} at=${createdAt} />`],
    ["Ended", endedAt && html`<${Time} at=${endedAt} />`],
    ["Id", html`<code>${id}</code>`],
  ]} />
  <details class="more"><summary>The whole plan</summary><pre tabindex="0">${JSON.stringify(plan, null, 2)}</pre></details>`;
}

function wordsOfKind([kind, values]) {
  return `${kind}: ${values.slice(0, MOST_NAMED).join(", ")}${values.length > MOST_NAMED ? " …" : ""}`;
}

function wordsOfStage({count: signs, percent, soakS}) {
  return `${signs ?? `${percent} %`}, watched ${span(soakS)}`;
}

function badge(tone) {
  return {accent: "info", muted: ""}[tone] ?? tone;
}

function ending({status, createdAt, endedAt}, total) {
  const minutes = Math.max(1, Math.round((Date.parse(endedAt) - Date.parse(createdAt)) / 60_000));
  const took = minutes < 120 ? count(minutes, "minute") : count(Math.round(minutes / 60), "hour");
  const end = status === "aborted" ? "It was aborted" : "It came to its end";
  return `${end} after ${took}; it was for ${count(total, "sign")}.`;
}
