/** API tokens: for programs; each is shown once. */

import {html, useState} from "../../vendor/preact.js";
import {
  Badge, Button, Callout, Check, Confirm, CopyLine, Dialog, ErrorNote, Form, IconButton, Input,
  Section, Select, Skeleton, Table, Time,
} from "../../ui.js";
import {send} from "../../api.js";
import {useAction, useFetch} from "../../hooks.js";
import {fieldErrors} from "../../words.js";

const SCOPES = [
  ["read", "Read everything, try rules and plans"],
  ["devices", "Enrol, change and command signs"],
  ["firmware", "Releases and rollouts"],
  ["settings", "Settings of communities"],
];
const DAYS = [
  {value: "30", label: "30 days"},
  {value: "90", label: "90 days"},
  {value: "365", label: "A year"},
  {value: "", label: "For ever"},
];

/** All tokens, for admins. */
export function ApiTokens() {
  const {data, error, loading, again} = useFetch("/tokens");
  const [open, setOpen] = useState(null);
  const tokens = data?.tokens ?? [];
  const close = () => setOpen(null);
  return html`<${Section} title="API tokens" id="tokens" sub="For programs that use this server’s API. A token goes where the admin token goes, and may less.">
    ${loading && html`<${Skeleton} lines=${2} tall />`}
    ${error && html`<${ErrorNote} error=${error} again=${again} />`}
    ${data && tokens.length === 0 && html`<p class="muted">There are none.</p>`}
    ${tokens.length > 0 && html`<${Table} label="API tokens" class="stacks" head=${["Name", "May", "Last used", "Ends", html`<span class="out-of-sight">Revoke</span>`]}>
      ${tokens.map((token) => html`<tr key=${token.id}>
        <td><span class="strong">${token.name}</span></td>
        <td><div class="row">${token.scopes.map((scope) => html`<${Badge} key=${scope}>${scope}<//>`)}</div></td>
        <td class="nowrap" data-label="Used"><${Time} at=${token.usedAt} /></td>
        <td class="nowrap" data-label="Ends"><${Time} at=${token.endsAt} /></td>
        <td><${IconButton} icon="trash" label=${`Revoke ${token.name}`} onClick=${() => setOpen({revoke: token})} /></td>
      </tr>`)}
    <//>`}
    <div class="row"><${Button} icon="plus" onClick=${() => setOpen("make")}>Make a token<//></div>
    ${open === "make" && html`<${Make} again=${again} onClose=${close} />`}
    ${open?.revoke && html`<${Revoke} token=${open.revoke} again=${again} onClose=${close} />`}
  <//>`;
}

function Make({again, onClose}) {
  const [name, setName] = useState("");
  const [scopes, setScopes] = useState(["read"]);
  const [days, setDays] = useState("90");
  const [missing, setMissing] = useState(null);
  const [made, setMade] = useState(null);
  const [make, busy, error] = useAction(async () => {
    setMade(await send("POST", "/tokens", {name: name.trim(), scopes, days: days ? Number(days) : null}));
    await again();
  });
  const submit = () => {
    const wrong = !name.trim() ? "name" : scopes.length === 0 ? "scopes" : null;
    setMissing(wrong);
    if (!wrong) make();
  };
  if (made) {
    return html`<${Dialog} title=${`The token ${made.name}`} onClose=${onClose}
      actions=${html`<${Button} kind="primary" onClick=${onClose}>Done<//>`}
    >
      <${Callout} tone="warn" title="It is shown this once"><p>The server keeps nothing of it but a digest.</p><//>
      <${CopyLine} label="Token" text=${made.token} />
    <//>`;
  }
  const wrong = fieldErrors(error);
  if (error?.code === "TOKEN_EXISTS") wrong.name = error.message;
  const toggle = (scope) => (on) => setScopes(on ? [...scopes, scope] : scopes.filter((each) => each !== scope));
  return html`<${Dialog} title="Make an API token" onClose=${onClose}>
    <${Form} onSubmit=${submit}>
      <${Input} label="Name" value=${name} onInput=${setName} placeholder="deploy"
        error=${missing === "name" ? "Give it a name." : wrong.name} hint="What the audit log calls it." />
      <fieldset class=${missing === "scopes" ? "wrong" : ""}>
        <legend class="legend">What it may</legend>
        ${SCOPES.map(([scope, label]) => html`<${Check} key=${scope} label=${label} checked=${scopes.includes(scope)} onChange=${toggle(scope)} />`)}
        ${missing === "scopes" && html`<p class="wrong-note" role="alert">Choose at least one.</p>`}
      </fieldset>
      <${Select} label="Good for" options=${DAYS} value=${days} onChange=${setDays} />
      ${error && Object.keys(wrong).length === 0 && html`<${ErrorNote} error=${error} />`}
      <div class="row end"><${Button} kind="quiet" onClick=${onClose}>Cancel<//><${Button} kind="primary" type="submit" busy=${busy}>Make<//></div>
    <//>
  <//>`;
}

function Revoke({token, again, onClose}) {
  const [revoke, busy, error] = useAction(async () => {
    await send("DELETE", `/tokens/${token.id}`);
    await again();
    onClose();
  });
  return html`<${Confirm} title=${`Revoke ${token.name}?`} action="Revoke" danger
    busy=${busy} error=${error} onYes=${revoke} onClose=${onClose}
  ><p>What uses it is shut out at once. That cannot be undone.</p><//>`;
}
