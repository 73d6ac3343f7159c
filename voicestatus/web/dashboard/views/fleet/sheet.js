/** A sheet at the page's side: one sign, one rollout, one thing that is asked for. */

import {html} from "../../vendor/preact.js";
import {useId} from "../../hooks.js";
import {IconButton, classes, useModal} from "../../ui.js";

/**
 * Shown as long as it is there; `onClose` is asked, not told.
 * @param {{title: any, lead?: any, sub?: any, foot?: any, wide?: boolean,
 *   onClose: () => void, children: any}} props `lead` stands before the title
 */
export function Sheet({title, lead, sub, foot, wide, onClose, children}) {
  const modal = useModal(onClose);
  const id = useId();
  return html`<dialog
    ...${modal} class=${classes("sheet", wide && "wide")} aria-labelledby=${id}
  >
    <div class="sheet-body">
      <header class="sheet-head">
        ${lead}
        <div class="sheet-title"><h2 id=${id}>${title}</h2>${sub}</div>
        <${IconButton} icon="x" label="Close" onClick=${onClose} />
      </header>
      <div class="sheet-scroll">${children}</div>
      ${foot && html`<footer class="sheet-foot">${foot}</footer>`}
    </div>
  </dialog>`;
}

/**
 * Names and values, one below the other.
 * @param {{rows: [string, any][]}} props rows without a value are left out
 */
export function Facts({rows}) {
  const told = rows.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return html`<dl class="facts">
    ${told.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}
  </dl>`;
}
