/** A rollout is asked for, in four steps; what it would do is seen all the time. */

import {html, useState} from "../../vendor/preact.js";
import {send} from "../../api.js";
import {useAction} from "../../hooks.js";
import {Button, Icon, classes, toast} from "../../ui.js";
import {Sheet} from "../fleet/sheet.js";
import {newDraft, planOf, stepOf, wordsOf} from "./plan.js";
import {Preview, usePreview} from "./preview.js";
import {Trouble} from "./trouble.js";
import {ChoosePace, ChooseReleases, ChooseSigns, Review} from "./wizard-steps.js";

const STEPS = ["Releases", "Signs", "Pace", "Start"];

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
  const props = {draft, set, wrong, releases, devices, tally};
  const Body = [ChooseReleases, ChooseSigns, ChoosePace, Review][step];
  const last = step === STEPS.length - 1;
  const back = () => (step === 0 ? onClose() : setStep(step - 1));
  const next = () => setStep(step + 1);

  return html`<${Sheet} wide title="Roll out" onClose=${onClose}
    sub=${html`<${StepBar} step=${step} wrong=${wrong.step} able=${able} onStep=${setStep} />`}
    foot=${html`
      <${Button} kind="quiet" onClick=${back}>${step === 0 ? "Cancel" : "Back"}<//>
      ${last
        ? html`<${Button} kind="primary" icon="play" busy=${starting} disabled=${!current || Boolean(error)}
            onClick=${start}>Start the rollout<//>`
        : html`<${Button} kind="primary" disabled=${!able} onClick=${next}>Next: ${STEPS[step + 1]}<//>`}
    `}
  >
    <${Body} ...${props} />
    ${able && error && !wrongKey && html`<${Trouble} error=${error} />`}
    ${able && step > 0 && html`<${Preview}
      preview=${preview} dim=${!current} whole=${last} wrong=${wrongWords(wrong, step)}
    />`}
    ${refused && html`<${Trouble} error=${refused} />`}
  <//>`;
}

function StepBar({step, wrong, able, onStep}) {
  return html`<ol class="steps" aria-label="Steps">
    ${STEPS.map((label, n) => html`<li key=${label}><button
      type="button" class=${classes("step", n < step && "done", n === wrong && "wrong")}
      disabled=${!able && n > 0} aria-current=${n === step ? "step" : undefined} onClick=${() => onStep(n)}
    >
      <span class="step-n">${n < step && n !== wrong ? html`<${Icon} name="check" size=${13} />` : n + 1}</span>
      <span class="step-label">${label}</span>
    </button></li>`)}
  </ol>`;
}

/** Say that something is not right yet: here, or in which other step. */
function wrongWords(wrong, step) {
  if (wrong.step < 0) return "";
  return wrong.step === step ? "Something above is not right yet." : `${STEPS[wrong.step]}: ${wrong.message}`;
}
