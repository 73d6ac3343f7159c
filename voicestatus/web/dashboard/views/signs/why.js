/** Why a sign shows what it shows. */

import {html, useEffect, useRef} from "../../vendor/preact.js";
import {useFetch} from "../../hooks.js";
import {Button, ErrorNote, Skeleton, classes} from "../../ui.js";
import {inFull} from "../../words.js";
import {namesOf} from "./directory.js";
import {keyOf} from "./lights.js";
import {conditions, explained} from "./rule-words.js";
import {SignLamp} from "./lamp.js";

/**
 * @param {{device: object, live: import("../../live-state.js").Live,
 *   directory: import("./directory.js").Directory, onEdit: () => void}} props
 */
export function Why({device, live, directory, onEdit}) {
  const path = `/devices/${encodeURIComponent(device.id)}/explain`;
  const {data: told, error, loading, again} = useFetch(path, {everyS: 5});
  // It is read when this is shown, and again when something of it changed.
  const stirred = useStirred([live.guilds, keyOf(device), device.connected]);
  useEffect(() => {
    if (stirred) again();
  }, [stirred]);
  if (loading) return html`<${Skeleton} lines=${6} />`;
  if (!told) return html`<${ErrorNote} error=${error} again=${again} />`;
  const said = explained(told);
  return html`<div class="why">
    ${error && html`<${ErrorNote} error=${error} again=${again} />`}
    <${Verdict} told=${told} away=${!told.connected} bare />
    <${Census} told=${told} said=${said} />
    <section class="why-part">
      <div class="row between">
        <h3>What it follows</h3>
        ${device.enrolled && html`<${Button} small icon="edit" onClick=${onEdit}>Change<//>`}
      </div>
      <p class="muted">${said.source}</p>
      <${Conditions} rule=${told.rule} directory=${directory} />
    </section>
    ${told.frames.length > 0 && html`<details class="why-part">
      <summary>What it was told last</summary>
      <ol class="frames">
        ${told.frames.map(({at, text}, n) => html`<li key=${n}>
          <time datetime=${at} title=${inFull(at)}>${clock(at)}</time><code>${text}</code>
        </li>`)}
      </ol>
    </details>`}
  </div>`;
}

/** The light, unless it is `bare`, and the one sentence that says why. */
export function Verdict({told, away, lead, bare}) {
  return html`<div class=${classes("verdict", bare && "bare")} aria-live="polite">
    ${!bare && html`<${SignLamp} light=${told.light} size=${30} />`}
    <div>
      ${lead && html`<p class="muted small">${lead}</p>`}
      <p class="verdict-why">${told.why}</p>
      ${away && html`<p class="muted small">It is away: this is what it would show.</p>`}
    </div>
  </div>`;
}

/** Who counts, who does not, and what runs. */
export function Census({told, said}) {
  const enough = told.counted >= told.needed;
  const needed = `${told.needed.toLocaleString("en")} ${told.needed === 1 ? "is" : "are"} needed`;
  return html`<div class="census">
    <div class="census-count">
      <span class=${`census-number ${enough ? "enough" : ""}`}>${told.counted.toLocaleString("en")}</span>
      <span class="muted">${told.counted === 1 ? "counts" : "count"}, ${needed}</span>
    </div>
    <ul class="census-notes">
      ${[...said.excluded, ...said.guilds].map((text) => html`<li key=${text}>${text}</li>`)}
      ${said.pending.map((text) => html`<li key=${text} class="runs">${text}</li>`)}
    </ul>
  </div>`;
}

/** A rule's conditions, one a line. */
export function Conditions({rule, directory}) {
  const lines = conditions(rule, namesOf(directory));
  return html`<dl class="facts">
    ${lines.map(({label, text}) => html`<dt>${label}</dt><dd>${text}</dd>`)}
  </dl>`;
}

function clock(at) {
  return new Date(at).toLocaleTimeString("en", {hour12: false});
}

/** Counts how often one of them was another; 0: never yet. */
function useStirred(values) {
  const count = useRef(-1);
  const before = useRef([]);
  if (values.some((value, n) => value !== before.current[n])) count.current += 1;
  before.current = values;
  return count.current;
}
