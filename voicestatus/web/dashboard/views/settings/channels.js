/** Choosing channels: one, or several in an order. */

import {html, useRef, useState} from "../../vendor/preact.js";
import {BareSelect, Button, Icon, IconButton, Select, Skeleton} from "../../ui.js";
import {moved} from "./draft.js";

const MOST = 25;
const ICONS = {text: "hash", announcement: "megaphone", voice: "voice", stage: "stage"};
const SIGNS = {text: "#", announcement: "#", voice: "♪", stage: "♪"};

function optionsOf(channels, kinds) {
  return channels
    .filter((channel) => !kinds || kinds.includes(channel.type))
    .map(({id, name, type, parentName}) => ({value: id, label: `${SIGNS[type]} ${name}`, group: parentName ?? ""}));
}

/** One channel, or none. */
export function ChannelSelect({label, hint, name, kinds, none, value, set, wrong, channels}) {
  const chosen = value(name);
  const options = optionsOf(channels ?? [], kinds);
  const strange = chosen && !options.some((option) => option.value === chosen);
  return html`<${Select}
    label=${label} hint=${hint} error=${wrong[name]} disabled=${!channels} value=${chosen ?? ""}
    onChange=${(id) => set(name, id || null)}
    options=${[
      {value: "", label: none},
      ...(strange ? [{value: chosen, label: channels ? `${chosen} (not seen by the bot)` : "…"}] : []),
      ...options,
    ]}
  />`;
}

/** The channels of the overview, in the order in which they are shown. */
export function ChannelList({value, set, wrong, channels, loading}) {
  const name = "discordOverviewChannelIds";
  const chosen = value(name);
  const [said, setSaid] = useState("");
  const list = useRef(null);
  const known = new Map((channels ?? []).map((channel) => [channel.id, channel]));
  const nameOf = (id) => known.get(id)?.name ?? id;
  const rest = optionsOf((channels ?? []).filter(({id}) => !chosen.includes(id)));

  const move = (from, to) => {
    set(name, moved(chosen, from, to));
    setSaid(`${nameOf(chosen[from])} is number ${to + 1} of ${chosen.length}`);
    // The row has moved from under the finger: the focus goes with it.
    const which = to < from ? "up" : "down";
    requestAnimationFrame(() => {
      const row = list.current?.children[to];
      (row?.querySelector(`.${which}:not(:disabled)`) ?? row?.querySelector("button:not(:disabled)"))?.focus();
    });
  };
  const remove = (id) => {
    set(name, chosen.filter((each) => each !== id));
    setSaid(`${nameOf(id)} is removed`);
  };
  if (loading) return html`<${Skeleton} lines=${3} tall />`;
  const error = wrong[name];
  return html`<div class=${`stack tight ${error ? "wrong" : ""}`}>
    ${chosen.length > 0 && html`<ol class="sortable" ref=${list} aria-label="Channels of the overview">
      ${chosen.map((id, i) => html`<li key=${id}>
        <${Icon} name=${ICONS[known.get(id)?.type] ?? "hash"} size=${16} />
        <span class="clip">${nameOf(id)}</span>
        <span class="row tight">
          <${IconButton} class="up" icon="chevronUp" label=${`Move ${nameOf(id)} up`} disabled=${i === 0} onClick=${() => move(i, i - 1)} />
          <${IconButton} class="down" icon="chevronDown" label=${`Move ${nameOf(id)} down`} disabled=${i === chosen.length - 1} onClick=${() => move(i, i + 1)} />
          <${IconButton} icon="x" label=${`Remove ${nameOf(id)}`} onClick=${() => remove(id)} />
        </span>
      </li>`)}
    </ol>`}
    <div class="row">
      <${BareSelect}
        class="grow" aria-label="Add a channel" value="" disabled=${chosen.length >= MOST || rest.length === 0}
        options=${[{value: "", label: chosen.length >= MOST ? "No more than 25" : rest.length ? "Add a channel …" : "All are there"}, ...rest]}
        onChange=${(id) => id && set(name, [...chosen, id])}
      />
      ${chosen.length > 0 && html`<${Button} kind="quiet" onClick=${() => set(name, [])}>Show all<//>`}
    </div>
    <p class="hint nums">${chosen.length ? `${chosen.length} of ${MOST}` : "All channels are shown."}</p>
    ${error && html`<p class="wrong-note" role="alert"><${Icon} name="alert" size=${14} />${error}</p>`}
    <p class="out-of-sight" aria-live="polite">${said}</p>
  </div>`;
}
