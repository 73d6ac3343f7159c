/** A refusal, and what to do about it. */

import {html} from "../../vendor/preact.js";
import {Callout, CopyButton, ErrorNote} from "../../ui.js";
import {problemOf} from "./problems.js";

/** @param {{error: Error, again?: () => Promise<unknown>}} props */
export function Trouble({error, again}) {
  const {title, words, todo, run, code} = problemOf(error);
  // What every view has words for is said as every view says it; and so is what could
  // not be read: nothing was to be done.
  if (!todo || again) return html`<${ErrorNote} error=${error} again=${again} />`;
  return html`<${Callout} tone="bad" role="alert" title=${title}>
    <p>${words}</p>
    <p>${todo}</p>
    ${run.length > 0 && html`<div class="commands">
      <pre tabindex="0">${run.join("\n")}</pre>
      <${CopyButton} small text=${run.join("\n")} />
    </div>`}
    <p class="muted small"><code>${code}</code></p>
  <//>`;
}
