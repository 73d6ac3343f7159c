/** How the live channel is, for who looks at what it tells. */

import {html} from "../../vendor/preact.js";
import {Button, Callout} from "../../ui.js";

/**
 * A small word beside the title.
 * @param {{link: import("../../live.js").Now["link"]}} props
 */
export function LinkMark({link}) {
  const words = {live: "Live", connecting: "Connecting", lost: "Reconnecting", refused: "Signed out"}[link];
  return html`<span class=${`link-mark ${link}`} role="status"><span aria-hidden="true"></span>${words}</span>`;
}

/**
 * What is shown is old, and why.
 * @param {import("../../live.js").Now} props
 */
export function LinkNote({link, lostAt, again, live}) {
  if (link === "refused") {
    return html`<${Callout} tone="bad" title="Your session has ended"
      actions=${html`<${Button} small kind="primary" href=${signIn()}>Sign in again<//>`}
    ><p>What you see is as it was.</p><//>`;
  }
  if (link !== "lost" && (link !== "connecting" || lostAt === 0)) return null;
  const time = new Date(lostAt).toLocaleTimeString("en", {hour: "2-digit", minute: "2-digit", hour12: false});
  return html`<${Callout} tone="warn" title="The server is out of reach"
    actions=${html`<${Button} small icon="refresh" onClick=${again}>Try now<//>`}
  ><p>${live.whole ? `What you see is as it was at ${time}. ` : ""}The page keeps trying by itself.</p><//>`;
}

function signIn() {
  return `/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`;
}
