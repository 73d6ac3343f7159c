/** Ranks, and the Discord role that goes with each. */

import {html, useEffect, useState} from "../../vendor/preact.js";
import {BareSelect, Button, Icon, IconButton, Section} from "../../ui.js";
import {ranksOf, same} from "./draft.js";

const KEY = "discordRankRoles";
const rowsOf = (value) => Object.entries(value).map(([rank, role]) => ({rank, role}));

/** @param {{form: any, roles: any[] | undefined}} props */
export function Ranks({form, roles}) {
  const {value, set, wrong} = form;
  const [rows, setRows] = useState(() => rowsOf(value(KEY)));
  const read = ranksOf(rows);
  // Saved or discarded elsewhere: what is typed here has to follow.
  useEffect(() => {
    if (!same(read.value, value(KEY))) setRows(rowsOf(value(KEY)));
  }, [value(KEY)]);

  const change = (next) => {
    setRows(next);
    set(KEY, ranksOf(next).value);
  };
  const edit = (i, patch) => change(rows.map((row, at) => (at === i ? {...row, ...patch} : row)));
  const options = [
    {value: "", label: "Choose a role"},
    ...(roles ?? []).map(({id, name, managed}) => ({
      value: id,
      label: managed ? `${name} (given by Discord or a bot)` : name,
      disabled: managed,
    })),
  ];
  return html`<${Section} title="Ranks" sub="The bot gives members the role of their rank, and takes the roles of the other ranks.">
    ${rows.length > 0 && html`<ul class="ranks">
      ${rows.map((row, i) => {
        const error = read.wrong[i] ?? wrong[`${KEY}.${row.rank.trim()}`];
        return html`<li key=${i} class=${error ? "wrong" : ""}>
          <input
            type="text" aria-label="Rank" placeholder="Officer" autocomplete="off" value=${row.rank}
            onInput=${(event) => edit(i, {rank: event.currentTarget.value})}
          />
          <${Icon} name="arrowRight" size=${16} />
          <${BareSelect}
            aria-label=${`Role of ${row.rank || "this rank"}`} options=${options} value=${row.role}
            disabled=${!roles} onChange=${(role) => edit(i, {role})}
          />
          <${IconButton} icon="x" label=${`Remove ${row.rank || "this rank"}`} onClick=${() => change(rows.filter((_, at) => at !== i))} />
          ${error && html`<p class="wrong-note" role="alert"><${Icon} name="alert" size=${14} />${error}</p>`}
        </li>`;
      })}
    </ul>`}
    <div class="row"><${Button} icon="plus" onClick=${() => setRows([...rows, {rank: "", role: ""}])}>Add a rank<//></div>
  <//>`;
}
