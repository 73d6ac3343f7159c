/** Health: how fast lights are, how the link to Discord is, and what is wrong. */

import {html} from "../vendor/preact.js";
import {useFetch} from "../hooks.js";
import {Badge, Callout, Card, ErrorNote, Page, Skeleton, Table} from "../ui.js";
import {count} from "../words.js";
import {bytes, lasted, stateOf, took} from "./health/figures.js";
import {Histogram} from "./health/histogram.js";

const STORES = {sqlite: "SQLite file", redis: "Redis", memory: "Memory alone"};

export default function View() {
  const {data, error, loading, again} = useFetch("/status", {everyS: 5});
  return html`<${Page} title="Health" sub="How this server is, looked at every five seconds." actions=${data && html`<${Overall} status=${data} />`}>
    ${loading && html`<${Skeleton} lines=${6} tall />`}
    ${error && html`<${ErrorNote} error=${error} again=${again} title=${data && "These figures are not of now"} />`}
    ${data && html`<${Status} status=${data} />`}
  <//>`;
}

function Overall({status}) {
  const bad = status.warnings.filter((each) => each.severity === "bad").length;
  if (bad > 0) return html`<${Badge} tone="bad" icon="alert">${count(bad, "fault")}<//>`;
  const some = status.warnings.length;
  if (some > 0) return html`<${Badge} tone="warn" icon="alert">${count(some, "warning")}<//>`;
  return html`<${Badge} tone="good" icon="check">All is well<//>`;
}

function Status({status}) {
  return html`
    ${status.warnings.length > 0 && html`<div class="stack tight" aria-live="polite">
      ${status.warnings.map((each) => html`<${Callout} key=${each.text} tone=${each.severity} title=${each.text}><p>${each.remedy}</p><//>`)}
    </div>`}
    <${Figures} status=${status} />
    <div class="health-two">
      <${Card} title="From Discord's event to the light" sub="From its first byte to the last sign's socket.">
        <${Histogram} histogram=${status.eventToFrame} what="From event to light" />
      <//>
      <${Card} title="Delay in the server" sub="How late its own timers fire; everything else waits as long.">
        <${Histogram} histogram=${status.reactorLag} what="How late timers fire" />
      <//>
    </div>
    <${Card} title="Link to Discord" sub=${linkWords(status)} flush>
      ${status.shards.length === 0
        ? html`<p class="health-none muted">No link was begun yet.</p>`
        : html`<${Shards} shards=${status.shards} />`}
    <//>`;
}

function Figures({status}) {
  const {nodes} = status;
  const rows = [
    ["Signs connected", status.devicesConnected, `${status.devicesEnrolled.toLocaleString("en")} enrolled`],
    ["People in voice", status.peopleInVoice, "for a sign without a rule"],
    ["Pages and others", status.pagesConnected, "connections besides"],
    ["Memory", bytes(status.memoryBytes), status.openFiles !== null && `${status.openFiles.toLocaleString("en")} of ${status.maxFiles.toLocaleString("en")} files open`],
    ["Running for", lasted(status.uptimeS), `version ${status.version}`],
    nodes
      ? ["Nodes", nodes.living, `${nodes.shardsHeld} shards held here, ${nodes.shardsInStep} in step`]
      : ["Store", STORES[status.store], "one node"],
  ];
  return html`<dl class="health-figures">
    ${rows.map(([name, value, more]) => html`<div key=${name}>
      <dt>${name}</dt>
      <dd>${typeof value === "number" ? value.toLocaleString("en") : value}</dd>
      ${more && html`<dd class="more">${more}</dd>`}
    </div>`)}
  </dl>`;
}

function linkWords({identifiesLeft}) {
  const left = identifiesLeft === null ? "" : ` Discord allows ${count(identifiesLeft, "more new session")} today.`;
  return `Each shard of the bot has one.${left}`;
}

function Shards({shards}) {
  return html`<${Table} label="Shards" head=${["Shard", "State", "Heartbeat", "Resumed", "New sessions", "Links that ended"]}>
    ${shards.map((shard) => {
      const [tone, word] = stateOf(shard.state);
      const ended = Object.entries(shard.ended).map(([cause, n]) => `${cause.replaceAll("_", " ")} ${n}`);
      return html`<tr key=${shard.shard}>
        <td>${shard.shard}</td>
        <td><${Badge} tone=${tone}>${word}<//></td>
        <td>${took(shard.heartbeatS)}</td>
        <td>${shard.resumes}</td>
        <td>${shard.identifies}</td>
        <td>${ended.join(", ") || html`<span class="muted">none</span>`}</td>
      </tr>`;
    })}
  <//>`;
}
