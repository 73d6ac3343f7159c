/** Finds signs: by words, state, tag and chip. */

import {html} from "../../vendor/preact.js";
import {BareSelect, Icon} from "../../ui.js";

const STATES = [
  ["online", "Online"],
  ["lit", "Lit"],
  ["away", "Away"],
  ["waiting", "To approve"],
  ["revoked", "Revoked"],
  ["stranger", "Strangers"],
];
const SORTS = [
  ["name", "By name"],
  ["state", "By state"],
  ["signal", "By signal"],
  ["firmware", "By firmware"],
  ["chip", "By chip"],
  ["seen", "By last seen"],
].map(([value, label]) => ({value, label}));

/**
 * @param {object} props
 * @param {import("./fleet.js").Query} props.query
 * @param {(query: object) => void} props.onQuery
 * @param {object} props.tally as `census` makes it
 * @param {?number} props.lit how many are; null: not all lights are known
 */
export function Toolbar({query, onQuery, tally, lit}) {
  const set = (key) => (value) => onQuery({...query, [key]: value});
  const counts = new Map([...tally.states, ["lit", lit ?? 0]]);
  const states = STATES.filter(([id]) => counts.get(id) || query.state === id);
  return html`<div class="fleet-tools">
    <label class="fleet-search">
      <${Icon} name="search" size=${17} />
      <input
        type="search" placeholder="Find by name, id, tag, address …" aria-label="Find signs" value=${query.text}
        onInput=${(event) => set("text")(event.currentTarget.value)}
      />
    </label>
    <div class="fleet-selects">
      ${tally.tags.size > 0 && html`<${BareSelect}
        aria-label="Tag" value=${query.tag} options=${choices("All tags", tally.tags)} onChange=${set("tag")}
      />`}
      ${tally.chips.size > 1 && html`<${BareSelect}
        aria-label="Chip" value=${query.chip} options=${choices("All chips", tally.chips)} onChange=${set("chip")}
      />`}
      <${BareSelect} class="sort" aria-label="Order" value=${query.sort} options=${SORTS} onChange=${set("sort")} />
    </div>
    <div class="pills" role="group" aria-label="State">
      <${Pill} on=${query.state === ""} onClick=${() => set("state")("")} n=${tally.all}>All<//>
      ${states.map(([id, label]) => html`<${Pill}
        key=${id} on=${query.state === id} n=${counts.get(id) ?? 0}
        onClick=${() => set("state")(query.state === id ? "" : id)}
      >${label}<//>`)}
    </div>
  </div>`;
}

function Pill({on, n, onClick, children}) {
  return html`<button type="button" class="pill" aria-pressed=${String(on)} onClick=${onClick}>
    ${children}<span class="count">${n.toLocaleString("en")}</span>
  </button>`;
}

function choices(all, tally) {
  const each = [...tally].map(([value, n]) => ({value, label: `${value} (${n})`}));
  return [{value: "", label: all}, ...each];
}
