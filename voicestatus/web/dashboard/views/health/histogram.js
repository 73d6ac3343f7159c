/** A histogram as bars, and the same in words. */

import {html} from "../../vendor/preact.js";
import {bars, inWords, took} from "./figures.js";

const WIDTH = 560;
const HEIGHT = 150;
const FOOT = 30;
const TOP = 18;
const GAP = 6;

/** @param {{histogram: any, what: string}} props `what` is measured, for who does not see it */
export function Histogram({histogram, what}) {
  const all = bars(histogram);
  const step = WIDTH / Math.max(1, all.length);
  return html`<figure class="histogram">
    <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT + FOOT + TOP}`} role="img" aria-label=${inWords(histogram, what)}>
      <line class="histogram-base" x1="0" x2=${WIDTH} y1=${HEIGHT + TOP} y2=${HEIGHT + TOP} />
      ${all.map((bar, at) => html`<${Bar} key=${bar.label} ...${{bar, at, step}} />`)}
    </svg>
    <dl class="histogram-facts">
      <div><dt>Half within</dt><dd>${took(histogram.p50S)}</dd></div>
      <div><dt>99 of 100 within</dt><dd>${took(histogram.p99S)}</dd></div>
      <div><dt>On average</dt><dd>${took(histogram.meanS)}</dd></div>
      <div><dt>Measured</dt><dd>${histogram.count.toLocaleString("en")}</dd></div>
    </dl>
  </figure>`;
}

function Bar({bar, at, step}) {
  // What there is at all is seen, however little it is.
  const height = bar.count ? Math.max(2, bar.height * HEIGHT) : 0;
  const middle = at * step + step / 2;
  return html`<g class=${bar.slow ? "slow" : ""}>
    <title>${`${bar.count.toLocaleString("en")} ${bar.label}`}</title>
    <rect x=${at * step + GAP / 2} y=${TOP + HEIGHT - height} width=${step - GAP} height=${height} rx="3" />
    ${bar.count > 0 && html`<text class="histogram-count" x=${middle} y=${TOP + HEIGHT - height - 5}>${short(bar.count)}</text>`}
    <text x=${middle} y=${TOP + HEIGHT + 21}>${bar.label}</text>
  </g>`;
}

function short(n) {
  return n < 10_000 ? n.toLocaleString("en") : `${Math.round(n / 1000).toLocaleString("en")}k`;
}
