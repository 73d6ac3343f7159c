/**
 * What all views are made of.
 *
 *   Page({title, sub, actions, children})      a view's head and body; sets the document's title
 *   Card({title, sub, actions, children, class})
 *   Section({title, sub, children})            a heading with rows of settings below it
 *   Callout({tone, title, actions, children})  tone: info | good | warn | bad
 *   Button({kind, icon, busy, small, href, external, ...})   kind: primary | plain | quiet | danger
 *   IconButton({icon, label, ...})             a button that is only an icon; it needs a label
 *   CopyButton({text, label})  CopyLine({label, text})   a text, and the button beside it
 *   Input({label, value, onInput(text), hint, error, type, ...})
 *   Textarea(...)  Select({label, value, onChange(value), options: [{value, label, group?, disabled?}], ...})
 *   Switch({label, hint, checked, onChange(bool)})   Check({label, checked, onChange(bool)})
 *   Field({label, hint, error, children: (props) => vnode})  a label, and what is wrong, for a control of yours
 *   Form({onSubmit, children})                 prevents the browser's own sending
 *   Dialog({title, onClose, actions, wide, children})        shown as long as it is there
 *   useModal(onClose)                                        what a <dialog> of one's own is given
 *   Confirm({title, children, action, danger, busy, error, onYes, onClose})
 *   Menu({label, button, children, align})     MenuItem({icon, onClick, href, checked, children})
 *   Badge({tone, icon, children})  Dot({tone, label})  Avatar({name, url, size, speaking})
 *   Icon({name, size, label})                  names: icons.js
 *   Loading({label})  Skeleton({lines, tall})  Empty({icon, title, action, children})
 *   ErrorNote({error, again, title})           says an ApiError in words, with "Try again"
 *   Tabs({label, tabs: [{id, label, count?}], value, onChange})
 *   Progress({value, max, label, tone})        no value: it goes on, nobody knows how long
 *   Time({at})  "3 min ago", the whole of it in its title      Lamp({on, color, size, unknown})
 *   Table({label, head: [..], children})       a table that scrolls sideways when it must
 *   toast(text, tone)                          a word that goes by itself; Toasts is in the shell
 *
 * tone: "" | "good" | "warn" | "bad" | "info" | "lit". All colours are tokens of style.css; dark
 * and light come by themselves. No component takes markup as text.
 */

import {html, useEffect, useLayoutEffect, useRef, useState} from "./vendor/preact.js";
import {ApiError} from "./api.js";
import {useAction, useId, useNow} from "./hooks.js";
import {Icon} from "./icons.js";
import {ago, initials, inFull, sayError} from "./words.js";

export {html, Icon};

/** Join class names, leaving out what is not there. */
export function classes(...names) {
  return names.filter(Boolean).join(" ");
}

// ---- the page ----------------------------------------------------------------------

/** A view's head and body. */
export function Page({title, sub, actions, children, narrow}) {
  useEffect(() => {
    document.title = `${title} · voicestatus`;
  }, [title]);
  return html`<div class=${classes("page", narrow && "narrow")}>
    <div class="page-head">
      <div>
        <h1 tabindex="-1">${title}</h1>
        ${sub && html`<p class="muted">${sub}</p>`}
      </div>
      ${actions && html`<div class="row">${actions}</div>`}
    </div>
    ${children}
  </div>`;
}

/** A sheet with a heading. */
export function Card({title, sub, actions, children, class: more, flush}) {
  return html`<section class=${classes("card", flush && "flush", more)}>
    ${(title || actions) &&
    html`<div class="card-head">
      <div>
        ${title && html`<h2>${title}</h2>`}
        ${sub && html`<p class="muted small">${sub}</p>`}
      </div>
      ${actions && html`<div class="row">${actions}</div>`}
    </div>`}
    ${children}
  </section>`;
}

/** A part of a form: what it is about on the left, what one sets on the right. */
export function Section({title, sub, children, id}) {
  return html`<section class="section" id=${id}>
    <div class="section-about">
      <h2>${title}</h2>
      ${sub && html`<p class="muted small">${sub}</p>`}
    </div>
    <div class="section-body">${children}</div>
  </section>`;
}

const CALLOUT_ICONS = {info: "info", good: "checkCircle", warn: "alert", bad: "alert"};

/** Something that has to be known or done. */
export function Callout({tone = "info", title, actions, children, role}) {
  return html`<div class=${`callout ${tone}`} role=${role}>
    <${Icon} name=${CALLOUT_ICONS[tone]} size=${20} />
    <div class="callout-body">
      ${title && html`<p class="strong">${title}</p>`}
      ${children}
      ${actions && html`<div class="row callout-actions">${actions}</div>`}
    </div>
  </div>`;
}

// ---- what is pressed ---------------------------------------------------------------

/** A button; with `href` a link that looks like one. */
export function Button({
  kind = "plain", icon, busy, small, href, external, class: more, children, disabled, ...rest
}) {
  const look = classes("button", kind, small && "small", busy && "busy", more);
  const inner = html`${busy
      ? html`<span class="spinner" aria-hidden="true"></span>`
      : icon && html`<${Icon} name=${icon} size=${small ? 15 : 17} />`}
    <span>${children}</span>`;
  if (href !== undefined) {
    const away = external ? {target: "_blank", rel: "noopener noreferrer"} : {};
    return html`<a class=${look} href=${href} ...${away} ...${rest}>${inner}</a>`;
  }
  return html`<button
    type="button" class=${look} disabled=${disabled || busy} aria-busy=${busy ? "true" : undefined}
    ...${rest}
  >${inner}</button>`;
}

/** A button that is only an icon. */
export function IconButton({icon, label, size = 18, class: more, ...rest}) {
  return html`<button
    type="button" class=${classes("icon-button", more)} aria-label=${label} title=${label} ...${rest}
  ><${Icon} name=${icon} size=${size} /></button>`;
}

/** Puts a text into the clipboard, and says so. */
export function CopyButton({text, label = "Copy", kind = "plain", small}) {
  const [done, setDone] = useState(false);
  useEffect(() => {
    if (!done) return undefined;
    const timer = setTimeout(() => setDone(false), 2000);
    return () => clearTimeout(timer);
  }, [done]);
  const copy = async () => {
    if (await toClipboard(text)) setDone(true);
    else toast("This browser does not let pages copy: select the text instead.", "warn");
  };
  return html`<${Button} kind=${kind} small=${small} icon=${done ? "check" : "copy"} onClick=${copy}>
    <span aria-live="polite">${done ? "Copied" : label}</span>
  <//>`;
}

/** A text to be copied; several lines stand as they are. */
export function CopyLine({label, text}) {
  return html`<div class="copy-line">
    ${label && html`<span class="legend">${label}</span>`}
    <code tabindex="0">${text}</code>
    <${CopyButton} small text=${text} />
  </div>`;
}

async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // not https, or refused
  }
}

/** A button with a list below it. Escape and a click elsewhere close it. */
export function Menu({label, button, children, align = "end", class: more}) {
  const [open, setOpen] = useState(false);
  const id = useId();
  const root = useRef(null);
  useLayoutEffect(() => {
    if (!open) return undefined;
    const items = root.current.querySelectorAll("[role^=menuitem]");
    (root.current.querySelector("[aria-checked=true]") ?? items[0])?.focus();
    const outside = (event) => root.current.contains(event.target) || setOpen(false);
    document.addEventListener("pointerdown", outside);
    return () => document.removeEventListener("pointerdown", outside);
  }, [open]);
  const close = () => {
    setOpen(false);
    root.current.querySelector("button").focus();
  };
  const onKeyDown = (event) => {
    if (!open) return;
    const items = [...root.current.querySelectorAll("[role^=menuitem]")];
    const at = items.indexOf(document.activeElement);
    const to = {ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1}[event.key];
    if (event.key === "Escape") close();
    else if (event.key === "Tab") setOpen(false);
    else if (to !== undefined) items.at(to % items.length)?.focus();
    else return;
    if (event.key !== "Tab") event.preventDefault();
  };
  return html`<div class=${classes("menu", more)} ref=${root} onKeyDown=${onKeyDown}>
    <button
      type="button" class="menu-button" aria-haspopup="menu" aria-expanded=${String(open)}
      aria-controls=${id} aria-label=${label} onClick=${() => setOpen(!open)}
    >${button}</button>
    <div id=${id} class=${`menu-list ${align}`} role="menu" aria-label=${label} hidden=${!open}
      onClick=${(event) => event.target.closest("[role^=menuitem]") && close()}
    >${open && children}</div>
  </div>`;
}

/** An entry of a Menu; `checked` makes it one of several that are chosen from. */
export function MenuItem({icon, href, checked, onClick, children}) {
  const props = {
    class: "menu-item",
    role: checked === undefined ? "menuitem" : "menuitemradio",
    "aria-checked": checked === undefined ? undefined : String(checked),
    tabindex: "-1",
    onClick,
  };
  const inner = html`${icon && html`<${Icon} name=${icon} />`}<span>${children}</span>
    ${checked && html`<${Icon} name="check" size=${16} class="end" />`}`;
  return href
    ? html`<a href=${href} ...${props}>${inner}</a>`
    : html`<button type="button" ...${props}>${inner}</button>`;
}

// ---- forms -------------------------------------------------------------------------

/** A form whose sending is ours. */
export function Form({onSubmit, children, class: more, ...rest}) {
  const submit = (event) => {
    event.preventDefault();
    onSubmit();
  };
  return html`<form class=${classes("form", more)} novalidate onSubmit=${submit} ...${rest}>${children}</form>`;
}

/** A label, a hint, and what is wrong, around a control that takes the props given to it. */
export function Field({label, hint, error, optional, children, class: more}) {
  const id = useId();
  const described = classes(hint && `${id}-hint`, error && `${id}-error`) || undefined;
  return html`<div class=${classes("field", error && "wrong", more)}>
    <label for=${id}>${label}${optional && html` <span class="muted">optional</span>`}</label>
    ${children({id, "aria-describedby": described, "aria-invalid": error ? "true" : undefined})}
    ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
    ${error && html`<p class="wrong-note" id=${`${id}-error`} role="alert"><${Icon} name="alert" size=${14} />${error}</p>`}
  </div>`;
}

/** One line of text. */
export function Input({label, hint, error, optional, onInput, ...rest}) {
  return html`<${Field} ...${{label, hint, error, optional}}>${(props) => html`<input
    type="text" autocomplete="off" ...${rest} ...${props}
    onInput=${(event) => onInput?.(event.currentTarget.value)}
  />`}<//>`;
}

/** Lines of text. */
export function Textarea({label, hint, error, optional, onInput, ...rest}) {
  return html`<${Field} ...${{label, hint, error, optional}}>${(props) => html`<textarea
    rows="3" ...${rest} ...${props}
    onInput=${(event) => onInput?.(event.currentTarget.value)}
  />`}<//>`;
}

/** One of several. */
export function Select({label, hint, error, optional, options, value, onChange, ...rest}) {
  return html`<${Field} ...${{label, hint, error, optional}}>${(props) => html`<${BareSelect}
    ...${{options, value, onChange}} ...${rest} ...${props}
  />`}<//>`;
}

/** A Select without a label of its own: give it `aria-label`. */
export function BareSelect({options, value, onChange, class: more, ...rest}) {
  const groups = new Map();
  for (const option of options) {
    const group = option.group ?? "";
    groups.set(group, [...(groups.get(group) ?? []), option]);
  }
  const shown = ([group, each]) => {
    const inner = each.map((option) => html`<option
      key=${option.value} value=${option.value} disabled=${option.disabled}
      selected=${option.value === value}
    >${option.label}</option>`);
    return group ? html`<optgroup label=${group}>${inner}</optgroup>` : inner;
  };
  return html`<span class=${classes("select", more)}><select
    ...${rest} value=${value} onChange=${(event) => onChange(event.currentTarget.value)}
  >${[...groups].map(shown)}</select><${Icon} name="chevronDown" size=${16} /></span>`;
}

/** On or off, at once. */
export function Switch({label, hint, checked, onChange, disabled}) {
  const id = useId();
  return html`<div class="switch-row">
    <div>
      <label for=${id}>${label}</label>
      ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
    </div>
    <input
      id=${id} class="switch" type="checkbox" role="switch" checked=${checked} disabled=${disabled}
      aria-describedby=${hint ? `${id}-hint` : undefined}
      onChange=${(event) => onChange(event.currentTarget.checked)}
    />
  </div>`;
}

/** A box to tick. */
export function Check({label, checked, onChange, disabled}) {
  return html`<label class="check"><input
    type="checkbox" checked=${checked} disabled=${disabled}
    onChange=${(event) => onChange(event.currentTarget.checked)}
  /><span>${label}</span></label>`;
}

// ---- above the page ----------------------------------------------------------------

/** What a `<dialog>` needs that is modal as long as it is there. */
export function useModal(onClose) {
  const ref = useRef(null);
  useEffect(() => {
    const dialog = ref.current;
    dialog.showModal();
    return () => dialog.close(); // which gives the focus back to who had it
  }, []);
  const onCancel = (event) => {
    if (event.target !== ref.current) return; // a file field within says so, too
    event.preventDefault();
    onClose();
  };
  // A click on the backdrop is one on the dialog itself.
  const onPointerDown = (event) => event.target === ref.current && onClose();
  return {ref, onCancel, onPointerDown};
}

/** Shown above everything as long as it is there; `onClose` is asked, not told. */
export function Dialog({title, onClose, actions, wide, children}) {
  const modal = useModal(onClose);
  const id = useId();
  return html`<dialog
    ...${modal} class=${classes("dialog", wide && "wide")} aria-labelledby=${id}
  >
    <div class="dialog-sheet">
      <div class="dialog-head">
        <h2 id=${id}>${title}</h2>
        <${IconButton} icon="x" label="Close" onClick=${onClose} />
      </div>
      <div class="dialog-body">${children}</div>
      ${actions && html`<div class="dialog-actions">${actions}</div>`}
    </div>
  </dialog>`;
}

/** Asks before something that cannot be taken back. */
export function Confirm({title, children, action, danger, busy, error, onYes, onClose}) {
  return html`<${Dialog} title=${title} onClose=${onClose} actions=${html`
    <${Button} kind="quiet" onClick=${onClose}>Cancel<//>
    <${Button} kind=${danger ? "danger" : "primary"} busy=${busy} onClick=${onYes}>${action}<//>
  `}>
    ${children}
    ${error && html`<${ErrorNote} error=${error} />`}
  <//>`;
}

const listeners = new Set();
let toasts = [];

/** Say something that goes by itself. */
export function toast(text, tone = "") {
  const mine = {id: Symbol(text), text, tone};
  const tell = (next) => {
    toasts = next;
    for (const listener of listeners) listener(toasts);
  };
  tell([...toasts.slice(-2), mine]);
  setTimeout(() => tell(toasts.filter((each) => each.id !== mine.id)), 5000);
}

/** Where toasts are shown; the shell has it. */
export function Toasts() {
  const [shown, setShown] = useState(toasts);
  useEffect(() => {
    listeners.add(setShown);
    return () => listeners.delete(setShown);
  }, []);
  const box = useRef(null);
  useLayoutEffect(() => {
    // An open dialog lies above all but what is shown after it.
    if (!box.current.showPopover) return;
    if (box.current.matches(":popover-open")) box.current.hidePopover();
    if (shown.length > 0) box.current.showPopover();
  }, [shown]);
  return html`<div class="toasts" popover="manual" role="status" aria-live="polite" ref=${box}>
    ${shown.map(({id, text, tone}) => html`<div key=${id} class=${`toast ${tone}`}>
      <${Icon} name=${CALLOUT_ICONS[tone] ?? "check"} size=${17} />${text}
    </div>`)}
  </div>`;
}

// ---- small signs -------------------------------------------------------------------

/** A word in a pill. */
export function Badge({tone = "", icon, children, title}) {
  return html`<span class=${`badge ${tone}`} title=${title}>
    ${icon && html`<${Icon} name=${icon} size=${13} />`}${children}
  </span>`;
}

/** A small point of colour; what it means is said, too. */
export function Dot({tone = "", label}) {
  return html`<span class=${`dot ${tone}`} role=${label ? "img" : undefined} aria-label=${label} title=${label}></span>`;
}

/** Someone's picture; initials, when there is none or it does not load. */
export function Avatar({name, url, size = 32, speaking}) {
  const [broken, setBroken] = useState(null);
  const look = {width: `${size}px`, height: `${size}px`, fontSize: `${Math.round(size * 0.4)}px`};
  return html`<span class=${classes("avatar", `hue-${hue(name)}`, speaking && "speaking")} style=${look} aria-hidden="true">
    ${initials(name)}
    ${url && broken !== url && html`<img
      src=${url} alt="" width=${size} height=${size} loading="lazy" decoding="async"
      onError=${() => setBroken(url)}
    />`}
  </span>`;
}

function hue(name) {
  let sum = 0;
  for (const letter of name ?? "") sum = (sum * 31 + letter.codePointAt(0)) % 997;
  return sum % 8;
}

/** A sign's light. */
export function Lamp({on, unknown, color, size = 14, label}) {
  const look = {width: `${size}px`, height: `${size}px`, ...(on && color ? {"--lamp": color} : {})};
  return html`<span
    class=${classes("lamp", on && "on", unknown && "unknown")} style=${look}
    role=${label ? "img" : undefined} aria-label=${label} title=${label}
  ></span>`;
}

/** How long ago something was. */
export function Time({at, empty = "never"}) {
  const now = useNow();
  if (!at) return html`<span class="muted">${empty}</span>`;
  return html`<time datetime=${at} title=${inFull(at)}>${ago(at, now)}</time>`;
}

// ---- how it stands -----------------------------------------------------------------

/** Something is on its way; said after a moment, so that nothing flashes. */
export function Loading({label = "Loading"}) {
  return html`<div class="loading" role="status"><span class="spinner" aria-hidden="true"></span>${label} …</div>`;
}

/** The shape of what is on its way. */
export function Skeleton({lines = 3, tall}) {
  return html`<div class="skeletons" role="status" aria-label="Loading">
    ${Array.from({length: lines}, (_, i) => html`<div key=${i} class=${classes("skeleton", tall && "tall")}></div>`)}
  </div>`;
}

/** Nothing is there, and what to do about it. */
export function Empty({icon = "info", title, action, children}) {
  return html`<div class="empty">
    <span class="empty-icon"><${Icon} name=${icon} size=${24} /></span>
    <p class="strong">${title}</p>
    ${children && html`<div class="muted">${children}</div>`}
    ${action && html`<div class="row center">${action}</div>`}
  </div>`;
}

/** What went wrong, in words, and how to try again. */
export function ErrorNote({error, again, title}) {
  const [run, busy] = useAction(async () => again());
  const {headline, advice, reference} = sayError(error);
  const mend = error.details?.reauthorizeUrl;
  return html`<${Callout} tone="bad" role="alert" title=${title ?? headline}
    actions=${(again || mend) && html`
      ${mend && html`<${Button} small icon="external" href=${mend} external>Update bot permissions<//>`}
      ${again && html`<${Button} small icon="refresh" busy=${busy} onClick=${run}>Try again<//>`}
    `}
  >
    ${title && html`<p>${headline}</p>`}
    ${advice && html`<p>${advice}</p>`}
    ${error instanceof ApiError && reference && html`<p class="muted small">Request <code>${reference}</code></p>`}
  <//>`;
}

/** Some views on one thing. */
export function Tabs({label, tabs, value, onChange}) {
  const root = useRef(null);
  const onKeyDown = (event) => {
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (!step) return;
    event.preventDefault();
    const at = tabs.findIndex((tab) => tab.id === value);
    const next = (at + step + tabs.length) % tabs.length;
    onChange(tabs[next].id);
    root.current.children[next].focus();
  };
  return html`<div class="tabs" role="tablist" aria-label=${label} ref=${root} onKeyDown=${onKeyDown}>
    ${tabs.map((tab) => html`<button
      key=${tab.id} type="button" role="tab" class="tab" aria-selected=${String(tab.id === value)}
      tabindex=${tab.id === value ? 0 : -1} onClick=${() => onChange(tab.id)}
    >${tab.label}${tab.count !== undefined && html`<span class="count">${tab.count}</span>`}</button>`)}
  </div>`;
}

/** How far something is. */
export function Progress({value, max = 100, label, tone = ""}) {
  const known = value !== undefined && value !== null;
  const part = known && max > 0 ? Math.min(100, (100 * value) / max) : 0;
  return html`<div
    class=${classes("progress", tone, !known && "unknown")} role="progressbar" aria-label=${label}
    aria-valuemin="0" aria-valuemax=${max} aria-valuenow=${known ? value : undefined}
  ><span style=${known ? {width: `${part}%`} : {}}></span></div>`;
}

/** A table; on a phone it scrolls sideways by itself. */
export function Table({label, head, children, class: more}) {
  return html`<div class=${classes("table-wrap", more)} role="region" aria-label=${label} tabindex="0">
    <table>
      <thead><tr>${head.map((each, i) => html`<th key=${i} scope="col">${each}</th>`)}</tr></thead>
      <tbody>${children}</tbody>
    </table>
  </div>`;
}
