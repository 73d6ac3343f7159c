/** What the new sign has to know: where to dial, with which token, over which Wi-Fi. */

import {html, useState} from "../../vendor/preact.js";
import {send} from "../../api.js";
import {useAction} from "../../hooks.js";
import {Button, Callout, CopyButton, ErrorNote, Form, Input} from "../../ui.js";
import {addressProblem, configLine, dialled, fits} from "./config.js";
import {canTalk, sendConfig} from "./console.js";

export function Settings() {
  const [made, setMade] = useState(null);
  const [make, busy, error] = useAction(async () => setMade(await send("POST", "/provisioning")));
  if (made) return html`<${Made} key=${made.token} made=${made} again=${make} busy=${busy} />`;
  return html`<div class="stack">
    ${error && html`<${ErrorNote} error=${error} />`}
    <div><${Button} kind="primary" icon="key" busy=${busy} onClick=${make}>Make a one-use token<//></div>
  </div>`;
}

function Made({made, again, busy}) {
  const [url, setUrl] = useState(() => dialled(made, location));
  const [ssid, setSsid] = useState("");
  const [password, setPassword] = useState("");
  const line = configLine({url, token: made.token, ssid, password});
  const problem = addressProblem(url);
  const usable = (problem === "" || problem.startsWith("A sign")) && fits(line);
  return html`<div class="stack">
    <${Callout} tone="warn" title="This token is shown once">
      <p>It lets in one new sign, within an hour. The sign gets a token of its own for it, and this one opens nothing more.</p>
    <//>
    <${Input} label="Server" value=${url} onInput=${setUrl} error=${problem} spellcheck="false" inputmode="url" />
    <${Line} label="Token" text=${made.token} />
    <details class="flash-wifi">
      <summary>Wi-Fi, if the sign does not have it yet</summary>
      <${Form} class="two" onSubmit=${() => {}}>
        <${Input} label="Network" value=${ssid} onInput=${setSsid} maxlength="32" />
        <${Input} label="Password" type="password" autocomplete="new-password" value=${password} onInput=${setPassword} maxlength="64" />
      <//>
      <p class="hint">They go to the sign over the cable, and nowhere else.</p>
    </details>
    ${canTalk() && html`<${OverUsb} line=${line} usable=${usable} />`}
    <details class="flash-others">
      <summary>${canTalk() ? "Or by hand" : "By hand"}</summary>
      <div class="stack tight">
        <p class="muted">Type server and token into the sign's portal. Or paste this line into its serial console, at 115,200 baud:</p>
        <${Line} label="Line" text=${line} />
      </div>
    </details>
    <div><${Button} kind="quiet" small icon="refresh" busy=${busy} onClick=${again}>Another token, for another sign<//></div>
  </div>`;
}

const STEPS = {opened: "Waiting for the sign to answer …", here: "It answers; sending …"};

function OverUsb({line, usable}) {
  const [step, setStep] = useState(null);
  const [run, busy, error] = useAction(async () => {
    setStep(null);
    setStep((await sendConfig(line, setStep)) ? "saved" : null);
  });
  return html`<${Form} onSubmit=${run}>
    <div class="row">
      <${Button} kind="primary" type="submit" icon="flash" busy=${busy} disabled=${!usable}>Send over USB<//>
      <span class="muted" role="status">${busy ? STEPS[step] : ""}</span>
    </div>
    ${!busy && step === "saved" && html`<${Callout} tone="good" title="The sign has its settings">
      <p>It starts anew and dials in; then it is listed under <a href="/signs">Signs</a>.</p>
    <//>`}
    ${error && html`<${Callout} tone="bad" role="alert" title="The sign was not reached"><p>${error.message}</p><//>`}
  <//>`;
}

function Line({label, text}) {
  return html`<div class="flash-line">
    <span class="legend">${label}</span>
    <code tabindex="0">${text}</code>
    <${CopyButton} small text=${text} />
  </div>`;
}
