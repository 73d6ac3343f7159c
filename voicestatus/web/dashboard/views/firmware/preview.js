/** What a rollout would do, before it is begun. */

import {html, useEffect, useState} from "../../vendor/preact.js";
import {send} from "../../api.js";
import {Icon, Progress, classes} from "../../ui.js";
import {count} from "../../words.js";
import {skips} from "./progress.js";

const DRY_RUN = "/firmware/rollouts/dry-run?limit=1000";
const TRY_AFTER_MS = 300;
const NAMED = 12;

/**
 * Who would get it, and who not and why.
 * @param {object} props
 * @param {?object} props.preview null: not known yet
 * @param {boolean} props.dim it is of a plan that is another one by now
 * @param {boolean} props.whole with names
 * @param {string} props.wrong why there is none
 */
export function Preview({preview, dim, whole, wrong}) {
  if (wrong) return html`<p class="odd bad" role="status"><${Icon} name="alert" size=${15} />${wrong}</p>`;
  if (!preview) return html`<${Progress} label="Looking who would get it" />`;
  const total = preview.stages.at(-1)?.size ?? 0;
  const reasons = skips(preview.skippedBy);
  const beyond = preview.beyond > 0 && `, ${preview.beyond.toLocaleString("en")} are beyond the last stage`;
  return html`<section class=${classes("preview", dim && "dimmed")} aria-live="polite" aria-label="What it would do">
    <p class="preview-total"><span class="census-number">${total.toLocaleString("en")}</span>
      ${total === 1 ? "sign gets it" : "signs get it"}${beyond}</p>
    ${total > 0 && html`<ol class="preview-stages">
      ${preview.stages.map(({adds}, n) => html`<li key=${n}><span class="muted">Stage ${n + 1}</span>
        <span>${adds > 0 ? count(adds, "sign") : html`<span class="muted">nobody new</span>`}</span>
        ${whole && html`<span class="muted small preview-names">${named(preview.devices, n, adds)}</span>`}</li>`)}
    </ol>`}
    ${reasons.length > 0 && html`<ul class="preview-skips muted small">
      ${reasons.map((text) => html`<li key=${text}>${text}</li>`)}
    </ul>`}
  </section>`;
}

function named(devices, stage, adds) {
  const ids = devices.filter((one) => one.stage === stage).slice(0, NAMED).map(({device}) => device);
  return ids.join(", ") + (adds > ids.length && ids.length > 0 ? " …" : "");
}

/**
 * What a plan would do; asked for anew whenever it is another one.
 * @param {?object} plan null: nothing is asked
 * @returns {{preview: ?object, error: ?Error, current: boolean}} `current`: of this plan
 */
export function usePreview(plan) {
  const [state, setState] = useState({of: "", preview: null, error: null});
  const text = plan === null ? "" : JSON.stringify(plan);
  useEffect(() => {
    if (!text) return undefined;
    const stop = new AbortController();
    const timer = setTimeout(async () => {
      try {
        const preview = await send("POST", DRY_RUN, JSON.parse(text), {signal: stop.signal});
        setState({of: text, preview, error: null});
      } catch (error) {
        if (error.name !== "AbortError") setState(({preview}) => ({of: text, preview, error}));
      }
    }, TRY_AFTER_MS);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [text]);
  return {preview: state.preview, error: state.error, current: state.of === text && text !== ""};
}
