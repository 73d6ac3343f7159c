/**
 * The steps of a rollout that is asked for. Each is given the draft, `set` to change it,
 * and what the server finds wrong with it: `{step, key, message}`.
 */

import {html, useState} from "../../vendor/preact.js";
import {Button, Check, Empty, Icon, IconButton, Input, Switch, classes} from "../../ui.js";
import {count} from "../../words.js";
import {Picker, TagPicker} from "../fleet/picker.js";
import {Facts} from "../fleet/sheet.js";
import {PACES, oddStages} from "./plan.js";

const MOST_STAGES = 20;

export function ChooseReleases({draft, set, releases}) {
  const usable = releases.filter(({trusted}) => trusted);
  const toggle = (id, on) => {
    const others = draft.releases.filter((one) => one !== id);
    set({releases: on ? [...others, id] : others});
  };
  if (usable.length === 0) return html`<${Empty} icon="chip" title="There is no release that signs would take" />`;
  return html`<div class="wizard-part">
    <p class="muted">Choose one for each chip. Every sign gets the one that is for it.</p>
    <ul class="choices">
      ${usable.map((release) => html`<li key=${release.id} class="choice"><${Check}
        checked=${draft.releases.includes(release.id)} onChange=${(on) => toggle(release.id, on)}
        label=${html`<${ReleaseWords} ...${release} />`}
      /></li>`)}
    </ul>
    <${Input} label="Name" optional hint="For people: what is new in it." value=${draft.name} maxlength="64"
      placeholder="Softer light" onInput=${(name) => set({name})} />
  </div>`;
}

function ReleaseWords({version, build, chip, board, channel, legacy, notes}) {
  const more = [channel === "beta" && "beta", legacy && "old signs, too"].filter(Boolean);
  const what = [`build ${build} for ${[chip, board].filter(Boolean).join(" ")}`, ...more].join(", ");
  return html`<span class="choice-words">
    <span class="strong">${version}</span><span class="muted">${what}</span>
    ${notes && html`<span class="muted small choice-notes">${notes}</span>`}
  </span>`;
}

export function ChooseSigns({draft, set, wrong, devices, tally}) {
  const at = (key) => (wrong.key.startsWith(`target.${key}`) ? wrong.message : undefined);
  const enrolled = devices.filter((device) => device.enrolled);
  const ids = enrolled.map(({id, name}) => ({id, label: name || id, detail: name ? id : ""}));
  const chips = [...tally.chips].map(([id, n]) => ({id, label: id, detail: String(n)}));
  const names = new Map(ids.map(({id, label}) => [id, label]));
  return html`<div class="wizard-part">
    <p class="muted">Without a choice: all that can take it. Different kinds must all hold.</p>
    <${TagPicker}
      label="Tags" tags=${tally.tags} placeholder="Any" value=${draft.tags} error=${at("tags")}
      onChange=${(tags) => set({tags})}
    />
    <${Picker}
      label="Chips" options=${chips} placeholder="Any" value=${draft.chips} error=${at("chips")}
      onChange=${(value) => set({chips: value})}
    />
    <${Picker}
      label="These signs only" options=${ids} placeholder="Any" value=${draft.ids} error=${at("ids")}
      name=${(id) => names.get(id) ?? id} onChange=${(value) => set({ids: value})}
    />
    <${Switch}
      label="Also those that failed with it before" checked=${draft.again} onChange=${(again) => set({again})}
    />
    <${Switch} label="Ask old signs what they run" checked=${draft.probe} onChange=${(probe) => set({probe})}
      hint="Before and after. It costs each its connection for some seconds." />
  </div>`;
}

export function ChoosePace({draft, set, wrong}) {
  const at = (key) => (wrong.key === key ? wrong.message : undefined);
  const same = ({stages}) => JSON.stringify(stages) === JSON.stringify(draft.stages);
  return html`<div class="wizard-part">
    <div class="paces" role="radiogroup" aria-label="Pace">
      ${PACES.map((pace) => html`<label key=${pace.id} class=${classes("pace", same(pace) && "chosen")}>
        <input type="radio" name="pace" checked=${same(pace)} onChange=${() => set({stages: pace.stages})} />
        <span class="strong">${pace.title}</span><span class="muted small">${pace.words}</span>
      </label>`)}
    </div>
    <${StageRows} stages=${draft.stages} onStages=${(stages) => set({stages})} at=${at} />
    <fieldset class="stage-rows">
      <legend>It stops by itself</legend>
      <div class="two">
        <${Input}
          label="When more than so many percent fail" inputmode="decimal" value=${draft.haltPercent}
          error=${at("haltAt.percent")} hint="Of a stage's signs that ended. Empty: no such limit."
          onInput=${(haltPercent) => set({haltPercent})}
        />
        <${Input}
          label="When so many fail in all" inputmode="numeric" value=${draft.haltCount}
          error=${at("haltAt.count")} hint="1: at the first. Empty: no such limit."
          onInput=${(haltCount) => set({haltCount})}
        />
      </div>
    </fieldset>
    <${MorePace} draft=${draft} set=${set} at=${at} />
  </div>`;
}

function StageRows({stages, onStages, at}) {
  const change = (n, one) => onStages(stages.with(n, {...stages[n], ...one}));
  const first = (keys) => keys.map(at).find(Boolean);
  const odd = oddStages(stages);
  return html`<fieldset class="stage-rows">
    <legend>Stages</legend>
    <p class="muted small">Signs that may have been touched in all when a stage is full: a number, or a percentage.</p>
    ${stages.map(({size, soakMin}, n) => html`<div class="stage-row" key=${n}>
      <span class="muted">${n + 1}</span>
      <${Input}
        label="Up to" value=${size} onInput=${(value) => change(n, {size: value})}
        error=${first([`stages[${n}]`, `stages[${n}].count`, `stages[${n}].percent`])}
      />
      <${Input}
        label="Watched for (min)" inputmode="decimal" value=${soakMin} error=${at(`stages[${n}].soakS`)}
        onInput=${(value) => change(n, {soakMin: value})}
      />
      <${IconButton}
        icon="x" label=${`Remove stage ${n + 1}`} size=${16} disabled=${stages.length === 1}
        onClick=${() => onStages(stages.toSpliced(n, 1))}
      />
    </div>`)}
    <div class="row"><${Button}
      small icon="plus" disabled=${stages.length >= MOST_STAGES}
      onClick=${() => onStages([...stages, {size: "100 %", soakMin: "10"}])}
    >Add a stage<//></div>
    ${odd && html`<p class="odd"><${Icon} name="alert" size=${15} />${odd}</p>`}
  </fieldset>`;
}

function MorePace({draft, set, at}) {
  const [open, setOpen] = useState(false);
  const success = draft.stages.map((_, n) => at(`stages[${n}].successPercent`)).find(Boolean);
  return html`<details class="more" open=${open} onToggle=${(event) => setOpen(event.currentTarget.open)}>
    <summary>More: speed, and when</summary>
    <div class="wizard-part">
      <div class="two">
        <${Input}
          label="Of a stage have to get through (%)" inputmode="decimal" value=${draft.successPercent}
          error=${success} onInput=${(successPercent) => set({successPercent})}
        />
        <${Input}
          label="A sign has to stay for (min)" inputmode="decimal" value=${draft.stayMin}
          error=${at("gate.stayS")} onInput=${(stayMin) => set({stayMin})}
        />
        <${Input}
          label="Offers a minute" inputmode="numeric" value=${draft.ratePerMinute}
          error=${at("ratePerMinute")} onInput=${(ratePerMinute) => set({ratePerMinute})}
        />
      </div>
      <${Switch}
        label="Not while a sign is lit" hint="It waits until it is dark: nobody is disturbed."
        checked=${draft.notWhileLit} onChange=${(notWhileLit) => set({notWhileLit})}
      />
      <${Switch}
        label="At night only" hint="Offers are made from 2:00 to 5:00, in your time zone."
        checked=${draft.window !== null} onChange=${(on) => set({window: on ? night() : null})}
      />
      ${at("windows[0]") && html`<p class="wrong-note">${at("windows[0]")}</p>`}
    </div>
  </details>`;
}

export function Review({draft, releases}) {
  const names = releases.filter(({id}) => draft.releases.includes(id))
    .map(({version, build, chip}) => `${version} (build ${build}) for ${chip}`);
  const target = [
    draft.tags.length > 0 && `tag ${draft.tags.join(" or ")}`,
    draft.chips.length > 0 && draft.chips.join(" or "),
    draft.ids.length > 0 && `${count(draft.ids.length, "sign")} by name`,
  ].filter(Boolean).join(", and ");
  const halts = [
    draft.haltPercent.trim() && `more than ${draft.haltPercent} % of a stage fail`,
    draft.haltCount.trim() && `${draft.haltCount} fail in all`,
    `less than ${draft.successPercent} % of a stage can get through`,
  ].filter(Boolean).join(", or ");
  const when = [draft.window && "2:00 to 5:00", draft.notWhileLit && "while a sign is dark"].filter(Boolean);
  return html`<div class="wizard-part"><${Facts} rows=${[
    ["Name", draft.name.trim()],
    ["What", html`<ul>${names.map((name) => html`<li key=${name}>${name}</li>`)}</ul>`],
    ["To whom", target || "All signs that can take it"],
    ["Stages", draft.stages.map(({size}) => size).join(", then ")],
    ["Watched", draft.stages.map(({soakMin}) => `${soakMin} min`).join(", ")],
    ["Stops when", halts],
    ["When", when.join(", ")],
  ]} /></div>`;
}

function night() {
  const {timeZone} = Intl.DateTimeFormat().resolvedOptions();
  return {from: "02:00", to: "05:00", tz: timeZone};
}
