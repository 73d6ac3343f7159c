/** Flash: firmware onto a new sign over USB, and a token with which it comes in. */

import {html} from "../vendor/preact.js";
import {useFetch} from "../hooks.js";
import {Callout, Card, ErrorNote, Page, Skeleton} from "../ui.js";
import {Firmware} from "./flash/firmware.js";
import {Settings} from "./flash/settings.js";

export default function View() {
  const {data, error, loading, again} = useFetch("/flash");
  const usb = "serial" in navigator && isSecureContext;
  return html`<${Page} narrow title="Flash" sub="Put the firmware on a new sign over USB, and let it in.">
    ${!usb && html`<${NoUsb} />`}
    <${Step} number="1" title="Firmware" sub="Plug the board in; the browser asks which port it is.">
      ${loading && html`<${Skeleton} lines=${3} />`}
      ${error && html`<${ErrorNote} error=${error} again=${again} />`}
      ${data && html`<${Firmware} builds=${data.builds} usb=${usb} />`}
    <//>
    <${Step} number="2" title="Settings" sub="Where the sign finds this server, and a token for it alone.">
      <${Settings} />
    <//>
  <//>`;
}

function Step({number, title, sub, children}) {
  return html`<${Card} class="flash-step" title=${html`<span class="flash-number" aria-hidden="true">${number}</span>${title}`} sub=${sub}>
    ${children}
  <//>`;
}

function NoUsb() {
  if (!isSecureContext) {
    const safe = "https:" + location.href.slice(location.protocol.length);
    return html`<${Callout} tone="warn" title="Browsers let a page use USB over https alone">
      <p>Open this page with https, such as <a href=${safe}>${safe}</a> if this server has it, or on the
        machine that it runs on as <code>http://localhost</code>. A token can be made all the same.</p>
    <//>`;
  }
  return html`<${Callout} tone="warn" title="This browser cannot use USB">
    <p>Chrome, Edge and Firefox on a computer can. A token can be made all the same.</p>
  <//>`;
}
