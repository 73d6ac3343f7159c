/** What a sign is: its name and tags, and all that it told of itself. */

import {html, useState} from "../../vendor/preact.js";
import {send} from "../../api.js";
import {useAction} from "../../hooks.js";
import {Button, ErrorNote, Form, Input, Time, toast} from "../../ui.js";
import {count, fieldErrors} from "../../words.js";
import {TagPicker} from "../fleet/picker.js";
import {Facts} from "../fleet/sheet.js";
import {bytes, span} from "../fleet/sizes.js";

const BOOTS = {
  power: "Power came",
  ota: "An update",
  trial: "An update, on trial",
  rollback: "It went back from an update",
  crash: "A crash",
};

/** @param {{device: object, path: string, tags: Map<string, number>}} props */
export function About({device, path, tags}) {
  const here = device.connected;
  return html`<div class="why">
    ${device.enrolled && html`<${NameAndTags} device=${device} path=${path} tags=${tags} />`}
    <section class="why-part"><h3>Itself</h3><${Facts} rows=${[
      ["Id", html`<code>${device.id}</code>`],
      ["Chip", [device.chip, device.board].filter(Boolean).join(", ")],
      ["Firmware", device.fw && `${device.fw}${device.build === null ? "" : `, build ${device.build}`}`],
      ["Can", device.caps.join(", ")],
      ["Protocol", `Version ${device.protocol}`],
    ]} /></section>
    <section class="why-part"><h3>Its link</h3><${Facts} rows=${[
      ["Address", device.address && html`<code>${device.address}</code>`],
      ["Dialled", device.path && html`<code>${device.path}</code>`],
      ["Node", device.node],
      ["Connected", here && html`<${Time} at=${device.connectedSince} />`],
      ["Signal", device.rssiDbm !== null && `${device.rssiDbm} dBm`],
      ["Round trip", device.rttMs !== null && `${Math.round(device.rttMs)} ms`],
      ["Came back", device.reconnects > 0 && count(device.reconnects, "time")],
      ["Last seen", !here && html`<${Time} at=${device.lastSeen} />`],
      ["First seen", html`<${Time} at=${device.firstSeen} />`],
    ].map(([name, value]) => [name, value || null])} /></section>
    <section class="why-part"><h3>Its health</h3><${Facts} rows=${[
      ["Started by", BOOTS[device.boot] ?? device.boot],
      ["Up for", device.uptimeS !== null && span(device.uptimeS)],
      ["Free memory", device.heapFreeB !== null && bytes(device.heapFreeB)],
      ["Own tokens", device.tokens.length > 0 && String(device.tokens.length)],
    ].map(([name, value]) => [name, value || null])} /></section>
  </div>`;
}

function NameAndTags({device, path, tags}) {
  const [name, setName] = useState(device.name);
  const [chosen, setChosen] = useState([...device.tags]);
  const changed = name !== device.name || chosen.join("\n") !== device.tags.join("\n");
  const [save, busy, error] = useAction(async () => {
    await send("PATCH", path, {name: name.trim(), tags: chosen});
    toast("Saved", "good");
  });
  const wrong = fieldErrors(error);
  return html`<${Form} onSubmit=${save}>
    <${Input} label="Name" value=${name} onInput=${setName} placeholder=${device.id} error=${wrong.name} maxlength="64" />
    <${TagPicker} label="Tags" hint="They put signs into groups, for filters and for updates." tags=${tags}
      value=${chosen} onChange=${setChosen} placeholder="None" error=${wrong.tags} />
    ${error && !error.details?.key && html`<${ErrorNote} error=${error} />`}
    <div class="row"><${Button} type="submit" kind="primary" small busy=${busy} disabled=${!changed}>Save<//></div>
  <//>`;
}
