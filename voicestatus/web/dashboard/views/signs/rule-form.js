/** All fields of a rule, in the order in which one thinks of them. */

import {html} from "../../vendor/preact.js";
import {useId} from "../../hooks.js";
import {Button, Field, Icon, IconButton, Input, Select, Switch, classes} from "../../ui.js";
import {Picker} from "../fleet/picker.js";
import {namesOf} from "./directory.js";
import {SignLamp} from "./lamp.js";
import {DAYS, PATTERNS, newHours} from "./rule-draft.js";

const SWATCHES = ["#5865f2", "#23a55a", "#f5a30a", "#f23f42", "#eb459e", "#00b0f4", "#ffffff"];
const DAY_LETTERS = {mon: "Mo", tue: "Tu", wed: "We", thu: "Th", fri: "Fr", sat: "Sa", sun: "Su"};
const DAY_NAMES = {
  mon: "Monday", tue: "Tuesday", wed: "Wednesday", thu: "Thursday", fri: "Friday", sat: "Saturday", sun: "Sunday",
};
const PATTERN_NAMES = {solid: "Solid", breathe: "Breathe", blink: "Blink", rainbow: "Rainbow"};
const WHERE = [
  ["guilds", "Servers", "All servers"],
  ["categories", "Categories", "All categories"],
  ["channels", "Channels", "All voice channels"],
];
const WHO = [
  ["users", "People", "Everybody"],
  ["roles", "With one of these roles", "Any role"],
];
const DELAYS = [
  ["onDelayS", "Goes on after", "seconds with enough people"],
  ["offDelayS", "Goes off after", "seconds with too few"],
  ["minOnS", "Stays on for", "seconds at least"],
];
const THIRD = [
  {value: "", label: "As the server's settings say"},
  {value: "true", label: "They count"},
  {value: "false", label: "They do not count"},
];
const UNKNOWN = [
  {value: "", label: "As the server's settings say"},
  {value: "hold", label: "Keep the last light"},
  {value: "off", label: "Go dark"},
];

const zones = Intl.supportedValuesOf?.("timeZone") ?? [];
const ownZone = Intl.DateTimeFormat().resolvedOptions().timeZone;

/**
 * @param {object} props
 * @param {object} props.draft
 * @param {(draft: object) => void} props.onDraft
 * @param {import("./directory.js").Directory} props.directory
 * @param {{field: string, key: string, message: string}} props.problem
 */
export function RuleForm({draft, onDraft, directory, problem}) {
  const set = (key, value) => onDraft({...draft, [key]: value});
  const wrong = (key) => (problem.field === key ? problem.message : undefined);
  const name = namesOf(directory);
  const picker = ([key, label, placeholder]) => html`<${Picker}
    key=${key} ...${{label, placeholder}} options=${directory[key]} value=${draft[key]} name=${(id) => name(key, id)}
    take=${anId} error=${wrong(key)} onChange=${(value) => set(key, value)}
  />`;

  return html`<div class="rule-form">
    <${Group} title="How many" words="So many people in voice light it.">
      <div class="stepper">
        <${IconButton} icon="minus" label="One less" disabled=${Number(draft.minCount) <= 1}
          onClick=${() => set("minCount", String(Number(draft.minCount) - 1))} />
        <input
          type="text" inputmode="numeric" aria-label="People at least" value=${draft.minCount}
          aria-invalid=${wrong("minCount") ? "true" : undefined}
          onInput=${(event) => set("minCount", event.currentTarget.value)}
        />
        <${IconButton} icon="plus" label="One more"
          onClick=${() => set("minCount", String((Number(draft.minCount) || 0) + 1))} />
        <span class="muted">${Number(draft.minCount) === 1 ? "person or more" : "people or more"}</span>
      </div>
      <${Wrong} text=${wrong("minCount")} />
    <//>
    <${Group} title="Where" words="Only who is there counts. Different kinds must all hold.">${WHERE.map(picker)}<//>
    <${Group} title="Who" words="Discord's id will do for whom the page does not know.">
      ${WHO.map(picker)}
      <${Switch} label="Only who streams" hint="Go Live, in one of those channels." checked=${draft.streaming}
        onChange=${(on) => set("streaming", on)} />
      <div class="two">
        <${Select} label="Bots" options=${THIRD} value=${triOf(draft.countBots)} error=${wrong("countBots")}
          onChange=${(value) => set("countBots", ofTri(value))} />
        <${Select} label="In the AFK channel" options=${THIRD} value=${triOf(draft.countAfk)} error=${wrong("countAfk")}
          onChange=${(value) => set("countAfk", ofTri(value))} />
      </div>
    <//>
    <${Group} title="Without flicker" words="Short visits, and short absences, need not be seen.">
      <div class="delays">
        ${DELAYS.map(([key, label, hint]) => html`<${Input}
          key=${key} label=${label} hint=${hint} inputmode="decimal" value=${draft[key]} error=${wrong(key)}
          onInput=${(value) => set(key, value)}
        />`)}
      </div>
    <//>
    <${Group} title="Quiet hours" words="It is dark then, whoever is there.">
      ${draft.quiet.map((hours, n) => html`<${Hours}
        key=${n} hours=${hours} problem=${problem.key.startsWith(`quiet[${n}]`) ? problem : null}
        onHours=${(next) => set("quiet", draft.quiet.with(n, next))}
        onRemove=${() => set("quiet", draft.quiet.toSpliced(n, 1))}
      />`)}
      <div class="row"><${Button}
        small icon="plus" onClick=${() => set("quiet", [...draft.quiet, newHours(ownZone)])}
      >Add quiet hours<//></div>
      ${problem.key === "quiet" && html`<${Wrong} text=${problem.message} />`}
    <//>
    <${Group} title="Looks" words="For signs that can show more than on and off.">
      <${Looks} draft=${draft} set=${set} wrong=${wrong} />
    <//>
    <${Group} title="When Discord is out of reach">
      <${Select} label="Show" options=${UNKNOWN} value=${draft.unknown ?? ""} error=${wrong("unknown")}
        onChange=${(value) => set("unknown", value || null)} />
    <//>
  </div>`;
}

function Group({title, words, children}) {
  return html`<fieldset class="rule-group">
    <legend>${title}</legend>
    ${words && html`<p class="muted small">${words}</p>`}
    ${children}
  </fieldset>`;
}

function Wrong({text}) {
  return text ? html`<p class="wrong-note" role="alert"><${Icon} name="alert" size=${14} />${text}</p>` : null;
}

function Hours({hours, problem, onHours, onRemove}) {
  const list = useId();
  const set = (key, value) => onHours({...hours, [key]: value});
  const at = (key) => (problem?.key.endsWith(`.${key}`) ? problem.message : undefined);
  const toggle = (day) => set("days", DAYS.filter((one) => (one === day) !== hours.days.includes(one)));
  return html`<div class="hours">
    <div class="hours-days" role="group" aria-label="Days on which they begin">
      ${DAYS.map((day) => html`<button
        key=${day} type="button" class="day" aria-pressed=${String(hours.days.includes(day))}
        aria-label=${DAY_NAMES[day]} onClick=${() => toggle(day)}
      >${DAY_LETTERS[day]}</button>`)}
      <${IconButton} icon="trash" label="Remove these hours" onClick=${onRemove} class="hours-remove" />
    </div>
    <div class="hours-times">
      <${Input} label="From" value=${hours.from} error=${at("from")} maxlength="5" placeholder="23:00"
        onInput=${(value) => set("from", value)} />
      <${Input} label="To" value=${hours.to} error=${at("to")} maxlength="5" placeholder="08:00"
        onInput=${(value) => set("to", value)} />
      <${Input} label="Time zone" value=${hours.tz} list=${list} error=${at("tz")} onInput=${(value) => set("tz", value)} />
      <datalist id=${list}>${zones.map((zone) => html`<option key=${zone} value=${zone} />`)}</datalist>
    </div>
    ${problem && !["from", "to", "tz"].some(at) && html`<${Wrong} text=${problem.message} />`}
  </div>`;
}

function Looks({draft, set, wrong}) {
  const {pattern, color, brightness} = draft;
  const known = /^#[0-9a-f]{6}$/i.test(color) ? color : "#5865f2";
  const light = {known: true, on: true, color: known, brightness: Number(brightness) || 0};
  const percent = Math.round((100 * light.brightness) / 255);
  return html`
    <div class="patterns" role="radiogroup" aria-label="Pattern">
      ${PATTERNS.map((id) => html`<label key=${id} class=${classes("pattern", pattern === id && "chosen")}>
        <input type="radio" name="pattern" value=${id} checked=${pattern === id} onChange=${() => set("pattern", id)} />
        <${SignLamp} light=${{...light, pattern: id}} size=${26} />
        <span>${PATTERN_NAMES[id]}</span>
      </label>`)}
    </div>
    <${Wrong} text=${wrong("pattern")} />
    <${Field} label="Colour" error=${wrong("color")}>${(props) => html`<div class="colors">
      <input type="color" class="color-well" aria-label="Any colour" value=${known}
        onInput=${(event) => set("color", event.currentTarget.value)} />
      ${SWATCHES.map((one) => html`<button
        key=${one} type="button" class="swatch" style=${{background: one}} aria-label=${one}
        aria-pressed=${String(color.toLowerCase() === one)} onClick=${() => set("color", one)}
      ></button>`)}
      <input type="text" class="color-text mono" ...${props} value=${color} maxlength="7"
        onInput=${(event) => set("color", event.currentTarget.value)} />
    </div>`}<//>
    <${Field} label=${`Brightness: ${percent} %`} error=${wrong("brightness")}>${(props) => html`<input
      type="range" class="range" min="0" max="255" value=${brightness} ...${props}
      onInput=${(event) => set("brightness", event.currentTarget.value)}
    />`}<//>`;
}

function anId(text) {
  return /^[0-9]{1,20}$/.test(text) ? text : null;
}

function triOf(value) {
  return value === null ? "" : String(value);
}

function ofTri(value) {
  return value === "" ? null : value === "true";
}
