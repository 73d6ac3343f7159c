/** How settings come to a sign over its cable: by this page, or by hand. */

import {html, useState} from "../../vendor/preact.js";
import {useAction} from "../../hooks.js";
import {Button, Callout, CopyLine, Form} from "../../ui.js";
import {fits, typed} from "./config.js";
import {canTalk, sendConfig} from "./console.js";

const STEPS = {opened: "Waiting for the sign to answer …", here: "It answers; sending …"};

/**
 * A button that sends it, where the browser can; and what to type.
 * @param {{line: string, usable?: boolean, kind?: "primary" | "plain"}} props `kind`: of the button
 */
export function OverUsb({line, usable = true, kind = "primary"}) {
  const direct = canTalk();
  return html`
    ${direct && html`<${Send} line=${line} usable=${usable && fits(line)} kind=${kind} />`}
    <details class="fold">
      <summary>${direct ? "Or by hand" : "Over USB, by hand"}</summary>
      <div class="stack tight">
        <p class="muted">Paste these two lines into the sign's serial console, at 115,200 baud:</p>
        <${CopyLine} label="Lines" text=${typed(line)} />
      </div>
    </details>`;
}

function Send({line, usable, kind}) {
  const [step, setStep] = useState(null);
  const [run, busy, error] = useAction(async () => {
    setStep(null);
    setStep((await sendConfig(line, setStep)) ? "saved" : null);
  });
  return html`<${Form} onSubmit=${run}>
    <div class="row">
      <${Button} kind=${kind} type="submit" icon="flash" busy=${busy} disabled=${!usable}>Send over USB<//>
      <span class="muted" role="status">${busy ? STEPS[step] : ""}</span>
    </div>
    ${!busy && step === "saved" && html`<${Callout} tone="good" title="The sign has its settings">
      <p>It starts anew and dials in; then it is listed under <a href="/signs">Signs</a>.</p>
    <//>`}
    ${error && html`<${Callout} tone="bad" role="alert" title="The sign was not reached"><p>${error.message}</p><//>`}
  <//>`;
}
