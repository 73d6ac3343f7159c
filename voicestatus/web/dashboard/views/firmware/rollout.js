/** One rollout: how far it is, what may be said to it, and who failed and why. */

import {html, useEffect, useState} from "../../vendor/preact.js";
import {send} from "../../api.js";
import {useAction, useFetch, useNow} from "../../hooks.js";
import {Badge, Button, Callout, Card, Confirm, Empty, Skeleton, Table, Tabs, Time, toast} from "../../ui.js";
import {count} from "../../words.js";
import {Facts, Sheet} from "../fleet/sheet.js";
import {PHASES, isAlive, ordersFor, reasonOf, skips, standing, statusOf, totals} from "./progress.js";
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
    words: "It is aborted, and old signs are given back what they ran before, if that is a release they may have. Signs that check signatures take no lower build: build the old code with a higher number for them.",
    action: "Go back",
    danger: true,
  },
};
const PAGE = 100;

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
  const numbers = [["Updated", good, "good"], ["Under way", busy, "info"], ["Waiting", waiting, ""], ["Failed", bad, "bad"], ["Skipped", skipped, ""]];
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
      {id: "signs", label: "Signs"}, {id: "skipped", label: "Why skipped", count: skipped}, {id: "plan", label: "Plan"},
    ]} />
    ${tab === "signs" && html`<${Signs} path=${path} stamp=${JSON.stringify(rollout.counts)} nameOf=${nameOf} />`}
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
      ${orders.map((what) => html`<${Button} key=${what} icon=${ICONS[what]} busy=${busy && asking === null && what === "pause"}
        kind=${what === "resume" ? "primary" : "plain"} onClick=${() => (what === "pause" ? order(what) : setAsking(what))}
      >${LABELS[what]}<//>`)}
    </div>`}
    ${error && !question && html`<${Trouble} error=${error} />`}
    ${back && html`<${WentBack} answer=${back} onOpen=${onOpen} />`}
    ${question && html`<${Confirm} ...${question} busy=${busy} onYes=${() => order(asking)} onClose=${() => setAsking(null)}>
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
  return html`<${Callout} tone=${impossible > 0 ? "warn" : "good"} title=${offered === 0 ? "No sign goes back" : `${count(offered, "sign")} ${offered === 1 ? "goes" : "go"} back`}
    actions=${answer.rollouts.map((id) => html`<${Button} key=${id} small onClick=${() => onOpen(id)}>Watch it<//>`)}
  >
    ${needless > 0 && html`<p>${count(needless, "sign")} had not taken it.</p>`}
    ${[...reasons].map(([reason, n]) => html`<p key=${reason}>${count(n, "sign")}: ${reason}.</p>`)}
  <//>`;
}

/** Those that failed, by name. */
function Failed({rollout, path, again, nameOf}) {
  const open = rollout.endedAt === null && rollout.status !== "aborted";
  const [retry, busy, error] = useAction(async (devices) => {
    await send("POST", `${path}/retry`, {devices});
    toast(`${count(devices.length, "sign")} ${devices.length === 1 ? "gets" : "get"} another chance`, "good");
    await again();
  });
  const ids = rollout.failed.map(({device}) => device);
  return html`<section class="failed" aria-label="Failed">
    <div class="row between">
      <h3>Failed</h3>
      ${open && ids.length > 1 && html`<${Button} small icon="refresh" busy=${busy} onClick=${() => retry(ids)}>Retry all ${ids.length}<//>`}
    </div>
    <ul>
      ${rollout.failed.map(({device, reason, before, since, forgiven, release}) => html`<li key=${device}>
        <div>
          <${SignLink} id=${device} nameOf=${nameOf} />
          <p>${sentence(reason)}${forgiven && html` <${Badge}>Forgiven<//>`}</p>
          <p class="muted small">${before && `Ran ${before} before, `}was to get ${release}, <${Time} at=${since} /></p>
        </div>
        ${open && html`<${Button} small busy=${busy} onClick=${() => retry([device])}>Retry<//>`}
      </li>`)}
    </ul>
    ${error && html`<${Trouble} error=${error} />`}
  </section>`;
}

/** Its signs, and how far each is. */
function Signs({path, stamp, nameOf}) {
  const [phase, setPhase] = useState("");
  const [pages, setPages] = useState([""]);
  const query = new URLSearchParams({limit: PAGE, ...(phase && {phase})});
  const choose = (id) => {
    setPhase(id);
    setPages([""]);
  };
  return html`<div class="rollout-signs">
    <div class="pills" role="group" aria-label="Phase">
      ${[{id: "", words: "All"}, ...PHASES.filter(({id}) => countOf(stamp, id) > 0)].map(({id, words}) => html`<button
        key=${id} type="button" class="pill" aria-pressed=${String(phase === id)} onClick=${() => choose(id)}
      >${words}${id && html`<span class="count">${countOf(stamp, id).toLocaleString("en")}</span>`}</button>`)}
    </div>
    <${Table} label="Signs of this rollout" head=${["Sign", "How far", "Stage", "Since"]}>
      ${pages.map((after, n) => html`<${SignsPage}
        key=${`${phase} ${after}`} path=${`${path}/devices?${query}&after=${encodeURIComponent(after)}`} stamp=${stamp} nameOf=${nameOf}
        last=${n === pages.length - 1} onMore=${(next) => setPages([...pages, next])}
      />`)}
    <//>
  </div>`;
}

function SignsPage({path, stamp, nameOf, last, onMore}) {
  const {data, error, again} = useFetch(path);
  useEffect(() => {
    if (data) again();
  }, [stamp]);
  if (error && !data) return html`<tr><td colspan="4"><${Trouble} error=${error} again=${again} /></td></tr>`;
  if (!data) return html`<tr><td colspan="4"><${Skeleton} lines=${4} /></td></tr>`;
  return html`
    ${data.devices.map((one) => html`<${SignRow} key=${one.device} one=${one} nameOf=${nameOf} />`)}
    ${data.devices.length === 0 && html`<tr><td colspan="4"><${Empty} icon="lamp" title="None just now" /></td></tr>`}
    ${last && data.next && html`<tr><td colspan="4"><${Button} small onClick=${() => onMore(data.next)}>Show more<//></td></tr>`}`;
}

function SignRow({one, nameOf}) {
  const {device, phase, progress, stage, since} = one;
  const {words, tone} = PHASES.find(({id}) => id === phase) ?? {words: phase, tone: "muted"};
  const reason = reasonOf(one);
  return html`<tr>
    <td><${SignLink} id=${device} nameOf=${nameOf} /></td>
    <td><span class=${`phase ${tone}`}>${words}${phase === "fetching" && progress > 0 && ` ${progress} %`}</span>
      ${reason && html`<span class="muted small phase-reason">${reason}</span>`}</td>
    <td>${stage === null ? html`<span class="muted">–</span>` : stage + 1}</td>
    <td class="nowrap"><${Time} at=${since} /></td>
  </tr>`;
}

function SignLink({id, nameOf}) {
  return html`<a class="sign-link" href=${`/signs?sign=${encodeURIComponent(id)}`} title=${id}>${nameOf(id)}</a>`;
}

function Plan({rollout}) {
  const {plan, releases, createdAt, endedAt, id} = rollout;
  const kinds = Object.entries(plan.target ?? {}).filter(([, values]) => values.length > 0);
  return html`<${Facts} rows=${[
    ["Releases", html`<ul>${releases.map((one) => html`<li key=${one}><code>${one}</code></li>`)}</ul>`],
    ["To whom", kinds.map(([kind, values]) => `${kind}: ${values.slice(0, 20).join(", ")}`).join("; ") || "All signs that can take it"],
    ["Stages", plan.stages.map((stage) => `${stage.count ?? `${stage.percent} %`}, watched ${Math.round(stage.soakS / 60)} min`).join("; ")],
    ["Begun", html`<${Time} at=${createdAt} />`],
    ["Ended", endedAt && html`<${Time} at=${endedAt} />`],
    ["Id", html`<code>${id}</code>`],
  ]} />
  <details class="more"><summary>The whole plan</summary><pre tabindex="0">${JSON.stringify(plan, null, 2)}</pre></details>`;
}

function countOf(stamp, phase) {
  return JSON.parse(stamp)[phase] ?? 0;
}

function badge(tone) {
  return {accent: "info", muted: ""}[tone] ?? tone;
}

function sentence(text) {
  return text ? `${text.charAt(0).toUpperCase()}${text.slice(1)}.` : "";
}

function ending({status, createdAt, endedAt}, total) {
  const minutes = Math.max(1, Math.round((Date.parse(endedAt) - Date.parse(createdAt)) / 60_000));
  const took = minutes < 120 ? count(minutes, "minute") : count(Math.round(minutes / 60), "hour");
  return `${status === "aborted" ? "It was aborted" : "It came to its end"} after ${took}; it was for ${count(total, "sign")}.`;
}
