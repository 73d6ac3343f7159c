/** How the live channel is, for who looks at what it tells. */

import {html} from "../../vendor/preact.js";
import {useFetch} from "../../hooks.js";
import {Button, Callout, ErrorNote} from "../../ui.js";

/**
 * A small word beside the title.
 * @param {{link: import("../../live.js").Now["link"]}} props
 */
export function LinkMark({link}) {
  const words = {live: "Live", connecting: "Connecting", lost: "Reconnecting", refused: "Not live"}[link];
  return html`<span class=${`link-mark ${link}`} role="status"><span aria-hidden="true"></span>${words}</span>`;
}

/**
 * What is shown is old, and why.
 * @param {import("../../live.js").Now} props
 */
export function LinkNote({link, lostAt, again, live}) {
  if (link === "refused") return html`<${Refused} again=${again} old=${live.whole} />`;
  if (link !== "lost" && (link !== "connecting" || lostAt === 0)) return null;
  const time = new Date(lostAt).toLocaleTimeString("en", {hour: "2-digit", minute: "2-digit", hour12: false});
  return html`<${Callout} tone="warn" title="The server is out of reach"
    actions=${html`<${Button} small icon="refresh" onClick=${again}>Try now<//>`}
  ><p>${live.whole ? `What you see is as it was at ${time}. ` : ""}The page keeps trying by itself.</p><//>`;
}

function Refused({again, old}) {
  // If the session has ended, asking leads to where one signs in.
  const {data: me, error, again: ask} = useFetch("/me");
  if (error) return html`<${ErrorNote} error=${error} again=${ask} />`;
  if (!me) return null;
  return html`<${Callout} tone="bad" title="The live channel does not let this page in"
    actions=${html`<${Button} small icon="refresh" onClick=${again}>Try again<//>`}
  >
    <p>${old && "What you see is as it was. "}Your session stands, so it may be the address: behind a proxy PUBLIC_URL
    has to be what stands in your browser's bar.</p>
  <//>`;
}
