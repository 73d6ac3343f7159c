/** The releases: what may be rolled out. */

import {html, useState} from "../../vendor/preact.js";
import {send} from "../../api.js";
import {useAction} from "../../hooks.js";
import {
  Badge, Button, Card, Confirm, Dialog, Form, Icon, Menu, MenuItem, Select, Switch, Table, Textarea, Time, toast,
} from "../../ui.js";
import {Facts} from "../fleet/sheet.js";
import {bytes} from "../fleet/sizes.js";
import {signedBy} from "./manifest.js";
import {Trouble} from "./trouble.js";

const CHANNELS = [
  {value: "stable", label: "Stable"},
  {value: "beta", label: "Beta"},
];

/**
 * @param {object} props
 * @param {object[]} props.releases
 * @param {Map<string, number>} props.running how many signs run each, by `chip build`
 * @param {(id: string) => void} props.onRollOut
 */
export function Releases({releases, running, onRollOut}) {
  const [shown, setShown] = useState(null);
  const [deleting, setDeleting] = useState(null);
  const current = releases.find(({id}) => id === shown);
  const last = html`<span class="out-of-sight">What to do</span>`;
  return html`<${Card} title="Releases" flush class="releases">
    <${Table} label="Releases" head=${["Version", "Chip", "Signed by", "Channel", "Runs on", "Added", last]}>
      ${releases.map((release) => html`<${Row}
        key=${release.id} release=${release} signs=${running.get(`${release.chip} ${release.build}`) ?? 0}
        onShow=${() => setShown(release.id)} onRollOut=${() => onRollOut(release.id)}
        onDelete=${() => setDeleting(release.id)}
      />`)}
    <//>
    ${current && html`<${Details} release=${current} onClose=${() => setShown(null)} />`}
    ${deleting && html`<${Deleting} id=${deleting} onClose=${() => setDeleting(null)} />`}
  <//>`;
}

function Row({release, signs, onShow, onRollOut, onDelete}) {
  const {id, chip, board, version, build, channel, legacy, needed, trusted, manifest, addedAt} = release;
  return html`<tr>
    <td><button type="button" class="release-name" onClick=${onShow}>${version}</button>
      <span class="muted small nowrap"> build ${build}</span></td>
    <td class="nowrap">${chip}${board && html` <span class="muted small">${board}</span>`}</td>
    <td><code>${signedBy(manifest)}</code>${!trusted && html` <${Badge} tone="bad">Not trusted<//>`}</td>
    <td><div class="row tight"><${Badge} tone=${channel === "beta" ? "warn" : "good"}>${channel}<//>
      ${legacy && html`<${Badge}>old signs, too<//>`}</div></td>
    <td class="nowrap">${signs > 0 ? signs.toLocaleString("en") : html`<span class="muted">none</span>`}
      ${needed && html` <${Badge} tone="info">in a rollout<//>`}</td>
    <td class="nowrap"><${Time} at=${addedAt} /></td>
    <td><div class="row end nowrap">
      <${Button} small disabled=${!trusted} onClick=${onRollOut}>Roll out<//>
      <${Menu} label=${`More for ${id}`} button=${html`<${Icon} name="dots" />`}>
        <${MenuItem} icon="edit" onClick=${onShow}>Details<//>
        <${MenuItem} icon="trash" onClick=${onDelete}>Delete<//>
      <//>
    </div></td>
  </tr>`;
}

function Details({release, onClose}) {
  const [channel, setChannel] = useState(release.channel);
  const [legacy, setLegacy] = useState(release.legacy);
  const [notes, setNotes] = useState(release.notes);
  const patch = Object.fromEntries(
    Object.entries({channel, legacy, notes}).filter(([key, value]) => value !== release[key]),
  );
  const [save, busy, error] = useAction(async () => {
    await send("PATCH", `/firmware/releases/${encodeURIComponent(release.id)}`, patch);
    toast("Saved", "good");
    onClose();
  });
  return html`<${Dialog} title=${`${release.version} for ${release.chip}`} wide onClose=${onClose} actions=${html`
    <${Button} kind="quiet" onClick=${onClose}>Close<//>
    <${Button} kind="primary" busy=${busy} disabled=${Object.keys(patch).length === 0} onClick=${save}>Save<//>
  `}>
    <p class="muted small">What was signed never changes. What you say of it does.</p>
    <${Facts} rows=${[
      ["Release", html`<code>${release.id}</code>`],
      ["Board", release.board || "any with this chip"],
      ["Build", String(release.build)],
      ["Needs build", release.minBuild > 0 && `${release.minBuild} or newer`],
      ["Shuts out", release.floor > 0 && `builds below ${release.floor}`],
      ["Until", release.notAfter && html`<${Time} at=${release.notAfter} />`],
      ["Size", bytes(release.sizeBytes)],
      ["Signed by", html`<code>${signedBy(release.manifest)}</code>`],
      ["SHA-256", html`<code class="digest">${release.sha256}</code>`],
    ].map(([name, value]) => [name, value || null])} />
    <${Form} onSubmit=${save}>
      <${Select} label="Channel" options=${CHANNELS} value=${channel} onChange=${setChannel} />
      <${LegacySwitch} checked=${legacy} onChange=${setLegacy} />
      <${Textarea} label="Notes" optional value=${notes} onInput=${setNotes} maxlength="1000" />
    <//>
    ${error && html`<${Trouble} error=${error} />`}
  <//>`;
}

/** A decision: whoever is in between may give an old sign something else. */
export function LegacySwitch({checked, onChange}) {
  return html`<${Switch}
    label="Old signs may have it" checked=${checked} onChange=${onChange}
    hint="They check no signature. Over plain HTTP whoever is in between can give them another image."
  />`;
}

function Deleting({id, onClose}) {
  const [yes, busy, error] = useAction(async () => {
    await send("DELETE", `/firmware/releases/${encodeURIComponent(id)}`);
    toast("Deleted", "good");
    onClose();
  });
  return html`<${Confirm} title="Delete this release?" action="Delete" danger busy=${busy} onYes=${yes} onClose=${onClose}>
    <p><code>${id}</code> and its image go. Signs that run it keep running it.</p>
    ${error && html`<${Trouble} error=${error} />`}
  <//>`;
}
