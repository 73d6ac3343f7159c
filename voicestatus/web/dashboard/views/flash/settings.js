/** What the new sign has to know: where to dial, with which token, over which Wi-Fi. */

import {html, useState} from "../../vendor/preact.js";
import {send} from "../../api.js";
import {useAction} from "../../hooks.js";
import {Button, Callout, CopyLine, ErrorNote, Form, Input} from "../../ui.js";
import {addressProblem, configLine, dialled} from "./config.js";
import {OverUsb} from "./over-usb.js";

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
  const usable = problem === "" || problem.startsWith("A sign");
  return html`<div class="stack">
    <${Callout} tone="warn" title="This token is shown once">
      <p>It lets in one new sign, within an hour. The sign gets a token of its own for it, and this one opens nothing more.</p>
    <//>
    <${Input} label="Server" value=${url} onInput=${setUrl} error=${problem} spellcheck="false" inputmode="url" />
    <${CopyLine} label="Token" text=${made.token} />
    <details class="fold">
      <summary>Wi-Fi, if the sign does not have it yet</summary>
      <${Form} class="two" onSubmit=${() => {}}>
        <${Input} label="Network" value=${ssid} onInput=${setSsid} maxlength="32" />
        <${Input} label="Password" type="password" autocomplete="new-password" value=${password} onInput=${setPassword} maxlength="64" />
      <//>
      <p class="hint">They go to the sign over the cable, and nowhere else.</p>
    </details>
    <${OverUsb} line=${line} usable=${usable} />
    <p class="muted small">Or type server and token into the sign's portal.</p>
    <div><${Button} kind="quiet" small icon="refresh" busy=${busy} onClick=${again}>Another token, for another sign<//></div>
  </div>`;
}
