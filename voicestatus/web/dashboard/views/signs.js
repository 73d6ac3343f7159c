/** The signs: how each of them is, and what it shows. */

import {html, useMemo, useState} from "../vendor/preact.js";
import {useAdminSocket} from "../live.js";
import {Button, Callout, Empty, Page, Skeleton} from "../ui.js";
import {count} from "../words.js";
import {useAddressKey} from "./fleet/address.js";
import {LinkMark, LinkNote} from "./fleet/link.js";
import {AddSign} from "./signs/add-sign.js";
import {ALL, census, find} from "./signs/fleet.js";
import {SignList} from "./signs/list.js";
import {SignSheet} from "./signs/sign.js";
import {Toolbar} from "./signs/toolbar.js";
import {useLights} from "./signs/use-lights.js";

/** @param {{query: URLSearchParams}} props */
export default function Signs({query}) {
  const socket = useAdminSocket();
  const {live, link} = socket;
  const lights = useLights(live);
  const [asked, setAsked] = useState(ALL);
  const [adding, setAdding] = useState(false);
  const [open, setOpen] = useAddressKey("sign", query);
  const tally = useMemo(() => census(live.devices.values()), [live.devices]);
  const lit = countLit(live.devices, lights.of);
  const signs = useFound(live.devices, asked, lights.of);
  const empty = live.whole && live.devices.size === 0;
  const chosen = open ? live.devices.get(open) : undefined;

  return html`<${Page}
    title="Signs" sub=${live.whole && !empty && summary(tally, lit)}
    actions=${html`<${LinkMark} link=${link} />
      <${Button} kind="primary" icon="plus" onClick=${() => setAdding(true)}>Add a sign<//>`}
  >
    <${LinkNote} ...${socket} />
    ${!live.whole && link === "connecting" && html`<${Skeleton} lines=${8} tall />`}
    ${empty && html`<${NoSigns} onAdd=${() => setAdding(true)} />`}
    ${live.devices.size > 0 && html`
      <${Toolbar} query=${asked} onQuery=${setAsked} tally=${tally} lit=${lit} />
      ${signs.length > 0
        ? html`<${SignList}
            signs=${signs} lightOf=${lights.of} query=${asked} onQuery=${setAsked} onOpen=${setOpen}
            onSeen=${lights.see}
          />`
        : html`<${Empty} icon="search" title="No sign is like that"
            action=${html`<${Button} onClick=${() => setAsked({...ALL, sort: asked.sort})}>Show all<//>`}
          />`}
    `}
    ${chosen && html`<${SignSheet}
      key=${chosen.id} device=${chosen} live=${live} light=${lights.of(chosen)} tags=${tally.tags}
      onClose=${() => setOpen("")} onRenamed=${setOpen}
    />`}
    ${open && !chosen && live.whole && html`<${Callout} tone="warn" title="This sign is not there any more"
      actions=${html`<${Button} small onClick=${() => setOpen("")}>Show all signs<//>`}
    ><p><code>${open}</code> was forgotten, or its connection has ended.</p><//>`}
    ${adding && html`<${AddSign}
      path=${dialled(live.devices)} tags=${tally.tags} onClose=${() => setAdding(false)} onOpen=${setOpen}
    />`}
  <//>`;
}

function NoSigns({onAdd}) {
  return html`<${Empty} icon="lamp" title="No sign has been here yet"
    action=${html`
      <${Button} kind="primary" icon="flash" href="/flash">Flash a sign<//>
      <${Button} icon="plus" onClick=${onAdd}>Connect one that is flashed<//>`}
  >
    <p>A sign needs three things: the firmware, your Wi-Fi, and this server's address with a token.
    The flasher gives it all of them over USB.</p>
  <//>`;
}

function summary({all, connected}, lit) {
  const words = [count(all, "sign"), `${connected.toLocaleString("en")} online`];
  if (lit !== null) words.push(`${lit.toLocaleString("en")} lit`);
  return words.join(" · ");
}

/** Where signs dial: where one has, else where they do unless the server is told otherwise. */
function dialled(devices) {
  for (const {path} of devices.values()) if (path) return path.replace(/\?.*$/, "");
  return "/ws";
}

/** How many are lit; null while that is not known of all that are here. */
function countLit(devices, lightOf) {
  let lit = 0;
  for (const device of devices.values()) {
    if (!device.connected) continue;
    const light = lightOf(device);
    if (light === null) return null;
    if (light.known && light.on) lit += 1;
  }
  return lit;
}

function useFound(devices, query, lightOf) {
  const isLit = (device) => Boolean(lightOf(device)?.on);
  // Lights change without a word about their signs.
  return useMemo(() => find(devices.values(), query, isLit), [devices, query, query.state === "lit" && {}]);
}
