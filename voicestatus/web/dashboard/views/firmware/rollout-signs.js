/** The signs of a rollout: how far each is, and why it failed or was skipped. */

import {html, useEffect, useState} from "../../vendor/preact.js";
import {send} from "../../api.js";
import {useAction, useFetch} from "../../hooks.js";
import {Badge, Button, Empty, Skeleton, Table, Time, toast} from "../../ui.js";
import {count} from "../../words.js";
import {PHASES, reasonOf, sentence} from "./progress.js";
import {Trouble} from "./trouble.js";

const PAGE = 100;

/** Those that failed, by name. */
export function Failed({rollout, path, again, nameOf}) {
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
      ${open && ids.length > 1 && html`<${Button}
        small icon="refresh" busy=${busy} onClick=${() => retry(ids)}
      >Retry all ${ids.length}<//>`}
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
export function Signs({path, counts, nameOf}) {
  const [phase, setPhase] = useState("");
  const [pages, setPages] = useState([""]);
  const there = PHASES.filter(({id}) => counts[id] > 0);
  const stamp = JSON.stringify(counts);
  const query = new URLSearchParams({limit: PAGE, ...(phase && {phase})});
  const choose = (id) => {
    setPhase(id);
    setPages([""]);
  };
  return html`<div class="rollout-signs">
    <div class="pills" role="group" aria-label="Phase">
      ${[{id: "", words: "All"}, ...there].map(({id, words}) => html`<button
        key=${id} type="button" class="pill" aria-pressed=${String(phase === id)} onClick=${() => choose(id)}
      >${words}${id && html`<span class="count">${counts[id].toLocaleString("en")}</span>`}</button>`)}
    </div>
    <${Table} label="Signs of this rollout" head=${["Sign", "How far", "Stage", "Since"]}>
      ${pages.map((after, n) => html`<${SignsPage}
        key=${`${phase} ${after}`} path=${`${path}/devices?${query}&after=${encodeURIComponent(after)}`}
        stamp=${stamp} nameOf=${nameOf} last=${n === pages.length - 1}
        onMore=${(next) => setPages([...pages, next])}
      />`)}
    <//>
  </div>`;
}

function SignsPage({path, stamp, nameOf, last, onMore}) {
  const {data, error, again} = useFetch(path);
  useEffect(() => {
    if (data) again();
  }, [stamp]);
  const across = (inner) => html`<tr><td colspan="4">${inner}</td></tr>`;
  if (error && !data) return across(html`<${Trouble} error=${error} again=${again} />`);
  if (!data) return across(html`<${Skeleton} lines=${4} />`);
  return html`
    ${data.devices.map((one) => html`<${SignRow} key=${one.device} one=${one} nameOf=${nameOf} />`)}
    ${data.devices.length === 0 && across(html`<${Empty} icon="lamp" title="None just now" />`)}
    ${last && data.next && across(html`<${Button} small onClick=${() => onMore(data.next)}>Show more<//>`)}`;
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
