/**
 * The fleet as a table, of which only what is seen is in the page: ten thousand signs
 * scroll as ten do. Arrow keys go from sign to sign; Tab goes on.
 */

import {html, useEffect, useLayoutEffect, useRef, useState} from "../../vendor/preact.js";
import {useNow} from "../../hooks.js";
import {Badge, Icon, classes} from "../../ui.js";
import {ago} from "../../words.js";
import {signalOf, stateOf} from "./fleet.js";
import {SignLamp, SignalBars} from "./lamp.js";

const BEYOND = 8;

const HEAD = [
  ["name", "Sign"],
  ["signal", "Signal"],
  ["firmware", "Firmware"],
  ["chip", "Chip"],
  ["seen", "Last seen"],
];

/**
 * @param {object} props
 * @param {object[]} props.signs
 * @param {(device: object) => ?object} props.lightOf
 * @param {import("./fleet.js").Query} props.query
 * @param {(query: object) => void} props.onQuery
 * @param {(id: string) => void} props.onOpen
 * @param {(signs: object[]) => void} props.onSeen what is in the page just now
 */
export function SignList({signs, lightOf, query, onQuery, onOpen, onSeen}) {
  const box = useRef(null);
  const {first, end, row} = useWindow(box, signs.length);
  const [at, setAt] = useState(0);
  const now = useNow(10);
  const active = Math.min(at, signs.length - 1);
  const shown = signs.slice(first, end);
  const seen = shown.map(({id}) => id).join("\n");
  useEffect(() => onSeen(shown), [seen]);
  const hold = useHeldFocus(box);

  const goTo = (n) => {
    const to = Math.max(0, Math.min(signs.length - 1, n));
    hold();
    setAt(to);
    scrollToRow(box.current, to, row);
  };
  const onKeyDown = (event) => {
    const screen = Math.max(1, Math.floor(innerHeight / row) - 3);
    const to = {
      ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + screen, PageUp: active - screen,
      Home: 0, End: signs.length - 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    goTo(to);
  };
  const sort = (key) => onQuery({...query, sort: key, down: query.sort === key && !query.down});

  // The one that has the focus keeps it, wherever one scrolls to.
  const places = shown.map((_, n) => first + n);
  if (active >= 0 && active < first) places.unshift(active);
  if (active >= end) places.push(active);
  return html`<div class="fleet" role="table" aria-label="Signs" aria-rowcount=${signs.length + 1}>
    <div class="fleet-head" role="row" aria-rowindex="1">
      ${HEAD.map(([key, label]) => html`<div
        key=${key} role="columnheader" class=${`cell-${key}`}
        aria-sort=${query.sort === key ? (query.down ? "descending" : "ascending") : "none"}
      ><button type="button" onClick=${() => sort(key)}>${label}${query.sort === key &&
        html`<${Icon} name=${query.down ? "chevronDown" : "chevronUp"} size=${14} />`}</button></div>`)}
    </div>
    <div
      class="fleet-body" role="rowgroup" ref=${box} style=${{height: `${signs.length * row}px`}}
      onKeyDown=${onKeyDown}
    >
      ${places.map((n) => html`<${Row}
        key=${signs[n].id} device=${signs[n]} light=${lightOf(signs[n])} n=${n} row=${row} now=${now}
        active=${n === active} onOpen=${onOpen} onFocus=${() => setAt(n)}
      />`)}
    </div>
  </div>`;
}

function Row({device, light, n, row, now, active, onOpen, onFocus}) {
  const {id, name, tags, connected, chip, board, fw, build, rssiDbm, lastSeen, enrolled} = device;
  const state = stateOf(device);
  const signal = signalOf(rssiDbm);
  const open = (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault(); // the router must not go there
    onOpen(id);
  };
  return html`<div
    class=${classes("fleet-row", !connected && "away")} role="row" aria-rowindex=${n + 2}
    style=${{transform: `translateY(${n * row}px)`}}
  >
    <div class="cell-name" role="cell">
      <${SignLamp} light=${light} away=${!connected} />
      <span class="fleet-name">
        <a
          href=${`/signs?sign=${encodeURIComponent(id)}`} tabindex=${active ? 0 : -1}
          onClick=${open} onFocus=${onFocus}
        >${name || id}</a>
        <span class="fleet-sub">${name && html`<span class="fleet-id">${id}</span>`}
          ${tags.slice(0, 3).map((tag) => html`<span class="tag" key=${tag}>${tag}</span>`)}
          ${tags.length > 3 && html`<span class="tag">+${tags.length - 3}</span>`}
        </span>
      </span>
      ${state === "waiting" && html`<${Badge} tone="warn">To approve<//>`}
      ${state === "revoked" && html`<${Badge} tone="bad">Revoked<//>`}
      ${!enrolled && html`<${Badge} tone="">Stranger<//>`}
    </div>
    <div class="cell-signal" role="cell"><${SignalBars} dbm=${rssiDbm} away=${!connected} ...${signal} /></div>
    <div class="cell-firmware" role="cell">
      ${fw ? html`<span>${fw}</span>` : html`<span class="muted">unknown</span>`}
      ${build !== null && html`<span class="muted small">build ${build}</span>`}
    </div>
    <div class="cell-chip" role="cell">
      ${chip ? html`<span>${chip}</span>` : html`<span class="muted">unknown</span>`}
      ${board && html`<span class="muted small">${board}</span>`}
    </div>
    <div class="cell-seen" role="cell">${connected
      ? html`<span class="online">Online</span>`
      : html`<span class="muted">${lastSeen ? ago(lastSeen, now) : "never"}</span>`}</div>
  </div>`;
}

/**
 * Keep the focus on the row that had it: one that is moved in the page loses it, and the
 * one that the keys go to may be there only after the next drawing.
 * @returns {() => void} takes the focus
 */
function useHeldFocus(box) {
  const held = useRef(null);
  useEffect(() => {
    const came = ({target}) => (held.current = box.current.contains(target) ? target : null);
    const pressed = ({target}) => box.current.contains(target) || (held.current = null);
    document.addEventListener("focusin", came);
    document.addEventListener("pointerdown", pressed);
    return () => {
      document.removeEventListener("focusin", came);
      document.removeEventListener("pointerdown", pressed);
    };
  }, []);
  useLayoutEffect(() => {
    if (held.current === null) return;
    const row = box.current.querySelector("[tabindex='0']");
    const lost = document.activeElement === document.body || document.activeElement === held.current;
    if (lost && row !== document.activeElement) row?.focus({preventScroll: true});
  });
  return () => (held.current ??= box.current);
}

/** Which rows are on the screen, with some above and below. */
function useWindow(box, length) {
  const [seen, setSeen] = useState({first: 0, end: 40, row: 58});
  useLayoutEffect(() => {
    let frame = 0;
    const look = () => {
      frame = 0;
      const row = parseFloat(getComputedStyle(box.current).getPropertyValue("--row"));
      const above = -box.current.getBoundingClientRect().top;
      // In steps, so that a small scroll draws nothing anew.
      const first = Math.max(0, Math.floor(above / row / BEYOND) * BEYOND - BEYOND);
      const end = Math.ceil((above + innerHeight) / row / BEYOND) * BEYOND + BEYOND;
      setSeen((was) => (was.first === first && was.end === end && was.row === row ? was : {first, end, row}));
    };
    const soon = () => (frame ||= requestAnimationFrame(look));
    look();
    addEventListener("scroll", soon, {passive: true});
    addEventListener("resize", soon);
    return () => {
      cancelAnimationFrame(frame);
      removeEventListener("scroll", soon);
      removeEventListener("resize", soon);
    };
  }, []);
  const first = Math.min(seen.first, Math.max(0, length - 2 * BEYOND));
  return {first, end: Math.max(first, Math.min(length, seen.end)), row: seen.row};
}

function scrollToRow(box, n, row) {
  const top = box.getBoundingClientRect().top + n * row;
  const [above, below] = [140, innerHeight - row - 24];
  if (top < above) scrollBy(0, top - above);
  else if (top > below) scrollBy(0, top - below);
}
