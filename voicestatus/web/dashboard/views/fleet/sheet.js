/** A sheet at the page's side: one sign, one rollout, one thing that is asked for. */

import {html, useEffect, useRef} from "../../vendor/preact.js";
import {useId} from "../../hooks.js";
import {IconButton, classes} from "../../ui.js";

/**
 * Shown as long as it is there; `onClose` is asked, not told.
 * @param {{title: any, lead?: any, sub?: any, foot?: any, wide?: boolean,
 *   onClose: () => void, children: any}} props `lead` stands before the title
 */
export function Sheet({title, lead, sub, foot, wide, onClose, children}) {
  const ref = useRef(null);
  const id = useId();
  useEffect(() => {
    const dialog = ref.current;
    dialog.showModal();
    return () => dialog.close(); // which gives the focus back to who had it
  }, []);
  const cancel = (event) => {
    if (event.target !== ref.current) return;
    event.preventDefault();
    onClose();
  };
  const backdrop = (event) => event.target === ref.current && onClose();
  return html`<dialog
    ref=${ref} class=${classes("sheet", wide && "wide")} aria-labelledby=${id}
    onCancel=${cancel} onPointerDown=${backdrop}
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
