/** A rollout is asked for, in four steps; what it would do is seen all the time. */

import {html, useEffect, useState} from "../../vendor/preact.js";
import {send} from "../../api.js";
import {useAction} from "../../hooks.js";
import {Button, Check, Empty, Icon, Input, Progress, Switch, classes, toast} from "../../ui.js";
import {count} from "../../words.js";
import {Picker, TagPicker} from "../fleet/picker.js";
import {Facts, Sheet} from "../fleet/sheet.js";
import {PACES, newDraft, oddStages, planOf, stepOf, wordsOf} from "./plan.js";
import {skips} from "./progress.js";
import {Trouble} from "./trouble.js";

const STEPS = ["Releases", "Signs", "Pace", "Start"];
const TRY_AFTER_MS = 300;
const NAMED = 12;

/**
 * @param {object} props
 * @param {object[]} props.releases
 * @param {string[]} props.chosen ids to begin with
 * @param {object[]} props.devices
 * @param {{tags: Map<string, number>, chips: Map<string, number>}} props.tally
 * @param {() => void} props.onClose
 * @param {(rollout: object) => void} props.onStarted
 */
export function Wizard({releases, chosen, devices, tally, onClose, onStarted}) {
  const [draft, setDraft] = useState(() => newDraft(chosen));
  const [step, setStep] = useState(chosen.length > 0 ? 1 : 0);
  const plan = planOf(draft);
  const {preview, error, current} = usePreview(draft.releases.length > 0 ? plan : null);
  const [start, starting, refused] = useAction(async () => {
    const rollout = await send("POST", "/firmware/rollouts", plan);
    toast("The rollout has begun", "good");
    onStarted(rollout);
  });
  const wrongKey = error?.details?.key ?? "";
  const wrong = {step: wrongKey ? stepOf(wrongKey) : -1, key: wrongKey, message: wordsOf(wrongKey, error?.message)};
  const set = (change) => setDraft({...draft, ...change});
  const able = draft.releases.length > 0;
  const props = {draft, set, wrong, releases, devices, tally, preview};
  const Body = [ChooseReleases, ChooseSigns, ChoosePace, Review][step];
  const last = step === STEPS.length - 1;

  return html`<${Sheet} wide title="Roll out" onClose=${onClose}
    sub=${html`<${StepBar} step=${step} wrong=${wrong.step} able=${able} onStep=${setStep} />`}
    foot=${html`
      <${Button} kind="quiet" onClick=${step === 0 ? onClose : () => setStep(step - 1)}>${step === 0 ? "Cancel" : "Back"}<//>
      ${last
        ? html`<${Button} kind="primary" icon="play" busy=${starting} disabled=${!current || Boolean(error)} onClick=${start}>Start the rollout<//>`
        : html`<${Button} kind="primary" disabled=${!able} onClick=${() => setStep(step + 1)}>Next: ${STEPS[step + 1]}<//>`}
    `}
  >
    <${Body} ...${props} />
    ${able && error && !wrongKey && html`<${Trouble} error=${error} />`}
    ${able && step > 0 && html`<${Preview} preview=${preview} dim=${!current} whole=${last} wrong=${wrong} step=${step} />`}
    ${refused && html`<${Trouble} error=${refused} />`}
  <//>`;
}

function StepBar({step, wrong, able, onStep}) {
  return html`<ol class="steps" aria-label="Steps">
    ${STEPS.map((label, n) => html`<li key=${label}><button
      type="button" class=${classes("step", n < step && "done", n === wrong && "wrong")} disabled=${!able && n > 0}
      aria-current=${n === step ? "step" : undefined} onClick=${() => onStep(n)}
    ><span class="step-n">${n < step && n !== wrong ? html`<${Icon} name="check" size=${13} />` : n + 1}</span>${label}</button></li>`)}
  </ol>`;
}

function ChooseReleases({draft, set, releases}) {
  const usable = releases.filter(({trusted}) => trusted);
  const toggle = (id, on) => set({releases: on ? [...draft.releases, id] : draft.releases.filter((one) => one !== id)});
  if (usable.length === 0) return html`<${Empty} icon="chip" title="There is no release that signs would take" />`;
  return html`<div class="wizard-part">
    <p class="muted">Choose one for each chip. Every sign gets the one that is for it.</p>
    <ul class="choices">
      ${usable.map(({id, version, build, chip, board, channel, legacy, notes}) => html`<li key=${id} class="choice">
        <${Check} checked=${draft.releases.includes(id)} onChange=${(on) => toggle(id, on)} label=${html`
          <span class="choice-words"><span class="strong">${version}</span>
            <span class="muted">build ${build} for ${chip}${board && ` ${board}`}${channel === "beta" && ", beta"}${legacy && ", old signs, too"}</span>
            ${notes && html`<span class="muted small choice-notes">${notes}</span>`}
          </span>`} />
      </li>`)}
    </ul>
    <${Input} label="Name" optional hint="For people: what is new in it." value=${draft.name} maxlength="64"
      placeholder="Softer light" onInput=${(name) => set({name})} />
  </div>`;
}

function ChooseSigns({draft, set, wrong, devices, tally}) {
  const at = (key) => (wrong.key.startsWith(`target.${key}`) ? wrong.message : undefined);
  const ids = devices.filter(({enrolled}) => enrolled).map(({id, name}) => ({id, label: name || id, detail: name ? id : ""}));
  const chips = [...tally.chips].map(([id, n]) => ({id, label: id, detail: String(n)}));
  const names = new Map(ids.map(({id, label}) => [id, label]));
  return html`<div class="wizard-part">
    <p class="muted">Without a choice: all that can take it. Different kinds must all hold.</p>
    <${TagPicker} label="Tags" tags=${tally.tags} placeholder="Any" value=${draft.tags} error=${at("tags")} onChange=${(tags) => set({tags})} />
    <${Picker} label="Chips" options=${chips} placeholder="Any" value=${draft.chips} error=${at("chips")} onChange=${(value) => set({chips: value})} />
    <${Picker} label="These signs only" options=${ids} placeholder="Any" value=${draft.ids} error=${at("ids")}
      name=${(id) => names.get(id) ?? id} onChange=${(value) => set({ids: value})} />
    <${Switch} label="Also those that failed with it before" checked=${draft.again} onChange=${(again) => set({again})} />
    <${Switch} label="Ask old signs what they run" checked=${draft.probe} onChange=${(probe) => set({probe})}
      hint="Before and after. It costs each its connection for some seconds." />
  </div>`;
}

function ChoosePace({draft, set, wrong}) {
  const [more, setMore] = useState(false);
  const at = (key) => (wrong.key === key ? wrong.message : undefined);
  const pace = PACES.find(({stages}) => JSON.stringify(stages) === JSON.stringify(draft.stages))?.id ?? "";
  const change = (n, one) => set({stages: draft.stages.with(n, {...draft.stages[n], ...one})});
  const odd = oddStages(draft.stages);
  const stageWrong = (n, keys) => keys.map((key) => at(`stages[${n}]${key && `.${key}`}`)).find(Boolean);
  return html`<div class="wizard-part">
    <div class="paces" role="radiogroup" aria-label="Pace">
      ${PACES.map(({id, title, words, stages}) => html`<label key=${id} class=${classes("pace", pace === id && "chosen")}>
        <input type="radio" name="pace" checked=${pace === id} onChange=${() => set({stages})} />
        <span class="strong">${title}</span><span class="muted small">${words}</span>
      </label>`)}
    </div>
    <fieldset class="stage-rows">
      <legend>Stages</legend>
      <p class="muted small">Signs that may have been touched in all when a stage is full: a number, or a percentage.</p>
      ${draft.stages.map(({size, soakMin}, n) => html`<div class="stage-row" key=${n}>
        <span class="muted">${n + 1}</span>
        <${Input} label="Up to" value=${size} error=${stageWrong(n, ["", "count", "percent"])} onInput=${(value) => change(n, {size: value})} />
        <${Input} label="Watched for (min)" inputmode="decimal" value=${soakMin} error=${stageWrong(n, ["soakS"])} onInput=${(value) => change(n, {soakMin: value})} />
        <button type="button" class="icon-button" aria-label=${`Remove stage ${n + 1}`} disabled=${draft.stages.length === 1}
          onClick=${() => set({stages: draft.stages.toSpliced(n, 1)})}><${Icon} name="x" size=${16} /></button>
      </div>`)}
      <div class="row"><${Button} small icon="plus" disabled=${draft.stages.length >= 20}
        onClick=${() => set({stages: [...draft.stages, {size: "100 %", soakMin: "10"}]})}>Add a stage<//></div>
      ${odd && html`<p class="odd"><${Icon} name="alert" size=${15} />${odd}</p>`}
    </fieldset>
    <fieldset class="stage-rows">
      <legend>It stops by itself</legend>
      <div class="two">
        <${Input} label="When more than so many percent fail" inputmode="decimal" value=${draft.haltPercent} error=${at("haltAt.percent")}
          hint="Of a stage's signs that ended. Empty: no such limit." onInput=${(haltPercent) => set({haltPercent})} />
        <${Input} label="When so many fail in all" inputmode="numeric" value=${draft.haltCount} error=${at("haltAt.count")}
          hint="1: at the first. Empty: no such limit." onInput=${(haltCount) => set({haltCount})} />
      </div>
    </fieldset>
    <details class="more" open=${more} onToggle=${(event) => setMore(event.currentTarget.open)}>
      <summary>More: speed, and when</summary>
      <div class="wizard-part">
        <div class="two">
          <${Input} label="Of a stage have to get through (%)" inputmode="decimal" value=${draft.successPercent}
            error=${draft.stages.map((_, n) => at(`stages[${n}].successPercent`)).find(Boolean)} onInput=${(successPercent) => set({successPercent})} />
          <${Input} label="A sign has to stay for (min)" inputmode="decimal" value=${draft.stayMin} error=${at("gate.stayS")}
            onInput=${(stayMin) => set({stayMin})} />
          <${Input} label="Offers a minute" inputmode="numeric" value=${draft.ratePerMinute} error=${at("ratePerMinute")}
            onInput=${(ratePerMinute) => set({ratePerMinute})} />
        </div>
        <${Switch} label="Not while a sign is lit" hint="It waits until it is dark: nobody is disturbed." checked=${draft.notWhileLit}
          onChange=${(notWhileLit) => set({notWhileLit})} />
        <${Switch} label="At night only" hint="Offers are made from 2:00 to 5:00, in your time zone." checked=${draft.window !== null}
          onChange=${(on) => set({window: on ? night() : null})} />
        ${at("windows[0]") && html`<p class="wrong-note">${at("windows[0]")}</p>`}
      </div>
    </details>
  </div>`;
}

function Review({draft, releases}) {
  const names = releases.filter(({id}) => draft.releases.includes(id))
    .map(({version, build, chip}) => `${version} (build ${build}) for ${chip}`);
  const target = [
    draft.tags.length > 0 && `tag ${draft.tags.join(" or ")}`,
    draft.chips.length > 0 && draft.chips.join(" or "),
    draft.ids.length > 0 && `${count(draft.ids.length, "sign")} by name`,
  ].filter(Boolean).join(", and ");
  const halts = [
    draft.haltPercent.trim() && `more than ${draft.haltPercent} % of a stage fail`,
    draft.haltCount.trim() && `${draft.haltCount} fail in all`,
    `less than ${draft.successPercent} % of a stage can get through`,
  ].filter(Boolean).join(", or ");
  return html`<div class="wizard-part"><${Facts} rows=${[
    ["Name", draft.name.trim()],
    ["What", html`<ul>${names.map((name) => html`<li key=${name}>${name}</li>`)}</ul>`],
    ["To whom", target || "All signs that can take it"],
    ["Stages", draft.stages.map(({size}) => size).join(", then ")],
    ["Watched", draft.stages.map(({soakMin}) => `${soakMin} min`).join(", ")],
    ["Stops when", halts],
    ["When", [draft.window && "2:00 to 5:00", draft.notWhileLit && "while a sign is dark"].filter(Boolean).join(", ")],
  ]} /></div>`;
}

/** Who would get it, and who not and why. */
function Preview({preview, dim, whole, wrong, step}) {
  if (wrong.step >= 0) {
    const where = wrong.step === step ? "Something above is not right yet." : `${STEPS[wrong.step]}: ${wrong.message}`;
    return html`<p class="odd bad" role="status"><${Icon} name="alert" size=${15} />${where}</p>`;
  }
  if (!preview) return html`<${Progress} label="Looking who would get it" />`;
  const total = preview.stages.at(-1)?.size ?? 0;
  const reasons = skips(preview.skippedBy);
  return html`<section class=${classes("preview", dim && "dimmed")} aria-live="polite" aria-label="What it would do">
    <p class="preview-total"><span class="census-number">${total.toLocaleString("en")}</span>
      ${total === 1 ? "sign gets it" : "signs get it"}${preview.beyond > 0 && `, ${preview.beyond.toLocaleString("en")} are beyond the last stage`}</p>
    ${total > 0 && html`<ol class="preview-stages">
      ${preview.stages.map(({adds}, n) => html`<li key=${n}><span class="muted">Stage ${n + 1}</span>
        <span>${adds > 0 ? count(adds, "sign") : html`<span class="muted">nobody new</span>`}</span>
        ${whole && html`<span class="muted small preview-names">${named(preview.devices, n, adds)}</span>`}</li>`)}
    </ol>`}
    ${reasons.length > 0 && html`<ul class="preview-skips muted small">${reasons.map((text) => html`<li key=${text}>${text}</li>`)}</ul>`}
  </section>`;
}

function named(devices, stage, adds) {
  const ids = devices.filter((one) => one.stage === stage).slice(0, NAMED).map(({device}) => device);
  return ids.join(", ") + (adds > ids.length && ids.length > 0 ? " …" : "");
}

function night() {
  const {timeZone} = Intl.DateTimeFormat().resolvedOptions();
  return {from: "02:00", to: "05:00", tz: timeZone};
}

/** What a plan would do; asked for anew whenever it is another one. */
function usePreview(plan) {
  const [state, setState] = useState({of: "", preview: null, error: null});
  const text = plan === null ? "" : JSON.stringify(plan);
  useEffect(() => {
    if (!text) return undefined;
    const stop = new AbortController();
    const timer = setTimeout(async () => {
      try {
        const preview = await send("POST", "/firmware/rollouts/dry-run?limit=1000", JSON.parse(text), {signal: stop.signal});
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
