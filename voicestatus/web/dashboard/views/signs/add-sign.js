/** How a sign comes to us: flashed over USB, by the shared token, or with one of its own. */

import {html, useState} from "../../vendor/preact.js";
import {send} from "../../api.js";
import {useAction} from "../../hooks.js";
import {Button, Callout, CopyLine, Dialog, ErrorNote, Form, Input, Tabs} from "../../ui.js";
import {fieldErrors} from "../../words.js";
import {configLine, dialled} from "../flash/config.js";
import {OverUsb} from "../flash/over-usb.js";
import {TagPicker} from "../fleet/picker.js";

/**
 * @param {object} props
 * @param {string} props.path where signs dial
 * @param {Map<string, number>} props.tags
 * @param {() => void} props.onClose
 * @param {(id: string) => void} props.onOpen
 */
export function AddSign({path, tags, onClose, onOpen}) {
  const [way, setWay] = useState("self");
  const [made, setMade] = useState(null);
  if (made !== null) {
    const done = () => {
      onClose();
      onOpen(made.device.id);
    };
    return html`<${Dialog} title=${`${made.device.name || made.device.id} is enrolled`} onClose=${onClose}
      actions=${html`<${Button} kind="primary" onClick=${done}>Done<//>`}
    ><${TokenOnce} token=${made.token} /><//>`;
  }
  return html`<${Dialog} title="Add a sign" onClose=${onClose}>
    <${Tabs} label="Way" value=${way} onChange=${setWay} tabs=${[
      {id: "self", label: "By itself"},
      {id: "hand", label: "By hand"},
    ]} />
    ${way === "self"
      ? html`<${ByItself} path=${path} />`
      : html`<${ByHand} tags=${tags} onMade=${setMade} onClose=${onClose} />`}
  <//>`;
}

function ByItself({path}) {
  return html`
    <div class="way">
      <h3>With nothing on it yet</h3>
      <p class="muted">The flasher puts the firmware, your Wi-Fi, the address and a token on it, over USB.</p>
      <${Button} kind="primary" icon="flash" href="/flash">Flash a sign<//>
    </div>
    <div class="way">
      <h3>With the firmware on it</h3>
      <p class="muted">
        Open the sign's portal, or send it its settings over USB. It is listed here as soon as it dials in.
      </p>
      <${CopyLine} label="Server" text=${dialled({url: null, path}, location)} />
      <p class="muted small">
        Token: the one that <code>ESP_AUTH_TOKEN</code> has, which the page does not know; or a one-use
        token: <a href="/flash">Flash</a> makes them. The sign gets one of its own when it first connects.
      </p>
    </div>`;
}

function ByHand({tags, onMade, onClose}) {
  const [id, setId] = useState("");
  const [name, setName] = useState("");
  const [chosen, setChosen] = useState([]);
  const [create, busy, error] = useAction(async () => {
    const body = {id: id.trim(), name: name.trim() || undefined, tags: chosen};
    onMade(await send("POST", "/devices", body));
  });
  const wrong = error?.code === "DEVICE_EXISTS" ? {id: "There is a sign with this id already."} : fieldErrors(error);
  return html`<${Form} onSubmit=${create}>
    <p class="muted">
      For signs that cannot enrol by themselves, such as old ones. You get a token to type into its portal.
    </p>
    <${Input}
      label="Id" hint="Letters, digits, dots, dashes: hall-lamp" value=${id} onInput=${setId} error=${wrong.id}
      maxlength="64"
    />
    <${Input} label="Name" optional value=${name} onInput=${setName} error=${wrong.name} placeholder="Hall lamp" />
    <${TagPicker} label="Tags" tags=${tags} value=${chosen} onChange=${setChosen} error=${wrong.tags} placeholder="None" />
    ${error && Object.keys(wrong).length === 0 && html`<${ErrorNote} error=${error} />`}
    <div class="row end">
      <${Button} kind="quiet" onClick=${onClose}>Cancel<//>
      <${Button} kind="primary" type="submit" busy=${busy} disabled=${id.trim() === ""}>Make its token<//>
    </div>
  <//>`;
}

const TYPE_IT =
  "Type it into the sign's portal, in the field of the token, or send it over USB. The server keeps no copy of it.";

/** A token that nobody shows again; `children` say what to do with it. */
export function TokenOnce({token, children}) {
  return html`
    <${Callout} tone="warn" title="This token is shown once">
      <p>${children ?? TYPE_IT}</p>
    <//>
    <${CopyLine} label="Token" text=${token} />
    <${OverUsb} line=${configLine({token})} kind="plain" />`;
}
