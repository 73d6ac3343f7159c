/** A rollout's stages as bars: how far each is, and which is its turn. */

import {html} from "../../vendor/preact.js";
import {Icon, classes} from "../../ui.js";
import {count} from "../../words.js";
import {stageBars} from "./progress.js";

const STATES = {done: "done", now: "under way", watched: "full, and watched", next: "to come"};

/** @param {{rollout: object, small?: boolean}} props */
export function Stages({rollout, small}) {
  const bars = stageBars(rollout);
  return html`<ol class=${classes("stages", small && "small")} aria-label="Stages">
    ${bars.map((bar, n) => html`<${Stage} key=${n} bar=${bar} n=${n} small=${small} weight=${weight(bar)} />`)}
  </ol>`;
}

function Stage({bar, n, small, weight: grow}) {
  const {adds, good, busy, bad, past, state} = bar;
  const words = [
    `Stage ${n + 1}, ${STATES[state]}: ${count(adds, "sign")}`,
    good && `${good} updated`,
    busy && `${busy} under way`,
    bad && `${bad} failed`,
    past && `${past} forgiven, skipped, or waiting again`,
  ].filter(Boolean).join(", ");
  const settled = (good + bad + past).toLocaleString("en");
  const icon = {done: "check", watched: "clock"}[state];
  const part = (tone, amount) => amount > 0 &&
    html`<span class=${tone} style=${{flexGrow: amount}}></span>`;
  return html`<li class=${`stage ${state}`} style=${{flexGrow: grow}} title=${words}>
    <div class="stage-bar" role="img" aria-label=${words}>
      ${part("good", good)}${part("bad", bad)}${part("past", past)}${part("busy", busy)}
      ${part("rest", adds - good - bad - past - busy)}
      ${adds === 0 && html`<span class=${state === "done" ? "none" : "rest"} style=${{flexGrow: 1}}></span>`}
    </div>
    ${!small && html`<div class="stage-words" aria-hidden="true">
      <span class="stage-name">
        ${icon && html`<${Icon} name=${icon} size=${14} />`}<span class="stage-word">Stage</span> ${n + 1}
      </span>
      <span class="muted">${adds === 0 ? "nobody new" : `${settled} of ${count(adds, "sign")}`}</span>
    </div>`}
  </li>`;
}

/** A stage of a thousand is wider than one of ten, and not a hundred times. */
function weight({adds}) {
  return 1 + Math.log2(1 + adds);
}
