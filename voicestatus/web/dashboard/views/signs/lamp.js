/** A sign's light, as small as a letter or as large as a fist. */

import {html} from "../../vendor/preact.js";
import {classes} from "../../ui.js";
import {lightIn} from "./rule-words.js";

/**
 * @param {object} props
 * @param {?object} props.light what it shows; null: not known
 * @param {boolean} [props.away] its link is away: nobody knows what it shows
 * @param {number} [props.size] pixels
 * @param {boolean} [props.still] without movement
 */
export function SignLamp({light, away, size = 18, still}) {
  const on = !away && light?.known && light.on;
  const label = away ? "Away" : lightIn(light);
  // A sign at a tenth of its brightness is well seen in the dark; here it would be black.
  const strength = on ? 0.35 + (0.65 * light.brightness) / 255 : 0;
  const look = {"--lamp-size": `${size}px`, "--lamp-color": light?.color, "--lamp-strength": strength};
  return html`<span
    class=${classes(
      "sign-lamp",
      on ? "on" : away ? "away" : light?.known ? "off" : "unknown",
      on && !still && light.pattern,
    )}
    style=${look} role="img" aria-label=${label} title=${label}
  ><span></span></span>`;
}

/** @param {{dbm: ?number, bars: number, words: string, away: boolean}} props */
export function SignalBars({dbm, bars, words, away}) {
  if (away) return html`<span class="signal none" aria-hidden="true">–</span>`;
  return html`<span class=${`signal s${bars}`} title=${words}>
    <svg width="18" height="14" viewBox="0 0 18 14" role="img" aria-label=${words}>
      ${[0, 1, 2, 3].map((n) => html`<rect
        key=${n} class=${n < bars ? "lit" : ""} x=${n * 5} y=${9 - 3 * n} width="3" height=${5 + 3 * n} rx="1"
      />`)}
    </svg>
    <span class="signal-dbm" aria-hidden="true">${dbm ?? ""}</span>
  </span>`;
}
