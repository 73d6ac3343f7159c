/** Who is on the roster, with which rank; and the roles that follow from that. */

import {html, useState} from "../../vendor/preact.js";
import {
  Avatar, Badge, BareSelect, Button, Callout, Confirm, Dialog, Empty, ErrorNote, Form, IconButton, Input, Section,
  Select, Skeleton, Switch, Table, toast,
} from "../../ui.js";
import {send} from "../../api.js";
import {useAction, useFetch} from "../../hooks.js";
import {count, fieldErrors} from "../../words.js";

/** @param {{org: any, me: any, ranks: string[]}} props */
export function Roster({org, me, ranks}) {
  const path = `/organizations/${org.id}/members`;
  const {data, error, loading, again} = useFetch(path);
  const [open, setOpen] = useState(null);
  const members = data?.members ?? [];
  const close = () => setOpen(null);
  const every = [...new Set([...ranks, ...members.map(({rank}) => rank).filter(Boolean)])];
  const shared = {path, again, ranks: every, admin: me.level === "admin"};
  return html`<${Section} title="Roster" id="roster" sub="Who has a rank, and who manages this community.">
    ${loading && html`<${Skeleton} lines=${3} tall />`}
    ${error && html`<${ErrorNote} error=${error} again=${again} />`}
    ${data && members.length === 0 && html`<p class="muted">Nobody is on it. It is only needed for ranks, and for managers
      who do not manage the Discord server.</p>`}
    ${members.length > 0 && html`<${Table} label="Roster" class="stacks" head=${["Member", "Rank", "Manager", html`<span class="out-of-sight">Remove</span>`]}>
      ${members.map((member) => html`<${Row} key=${member.userId} member=${member} ...${shared}
        remove=${() => setOpen({remove: member})} />`)}
    <//>`}
    <div class="row">
      <${Button} icon="plus" onClick=${() => setOpen("add")}>Add a member<//>
      ${org.discordGuildId && html`<${Button} icon="refresh" onClick=${() => setOpen("sync")}>Sync roles …<//>`}
    </div>
    ${open === "add" && html`<${Add} ...${shared} onClose=${close} />`}
    ${open === "sync" && html`<${Sync} org=${org} members=${members} onClose=${close} />`}
    ${open?.remove && html`<${Remove} ...${shared} member=${open.remove} onClose=${close} />`}
  <//>`;
}

const nameOf = ({displayName, userId}) => displayName ?? userId;

function Who({member}) {
  const {displayName, avatarUrl, userId, inServer} = member;
  return html`<span class="who">
    <${Avatar} name=${displayName} url=${avatarUrl} size=${28} />
    <span>
      ${displayName && html`<span class="strong">${displayName}</span>`}
      <code class="muted small">${userId}</code>
      ${inServer === false && html`<span><${Badge}>Not in the server<//></span>`}
    </span>
  </span>`;
}

function Row({member, path, again, ranks, admin, remove}) {
  // Shown as it will be, while it is being saved; as it is, when that failed.
  const [wanted, setWanted] = useState({});
  const [put, busy, error] = useAction(async (patch) => {
    setWanted(patch);
    try {
      await send("PUT", `${path}/${member.userId}`, patch);
      await again();
    } finally {
      setWanted({});
    }
  });
  const shown = {...member, ...wanted};
  const options = [{value: "", label: "No rank"}, ...ranks.map((rank) => ({value: rank, label: rank}))];
  return html`<tr aria-busy=${busy ? "true" : undefined}>
      <td><${Who} member=${member} /></td>
      <td><${BareSelect} class="inline" aria-label=${`Rank of ${nameOf(member)}`} disabled=${busy}
        options=${options} value=${shown.rank ?? ""} onChange=${(rank) => put({rank: rank || null})} /></td>
      <td data-label="Manager">${admin
        ? html`<input type="checkbox" role="switch" class="switch" aria-label=${`${nameOf(member)} is a manager`}
            checked=${shown.manager} disabled=${busy} onChange=${(event) => put({manager: event.currentTarget.checked})} />`
        : member.manager && html`<${Badge} tone="info">Manager<//>`}</td>
      <td><${IconButton} icon="trash" label=${`Remove ${nameOf(member)}`} onClick=${remove} disabled=${busy} /></td>
    </tr>
    ${error && html`<tr><td colspan="4"><${ErrorNote} error=${error} /></td></tr>`}`;
}

function Add({path, again, ranks, admin, onClose}) {
  const [userId, setUserId] = useState("");
  const [rank, setRank] = useState("");
  const [manager, setManager] = useState(false);
  const [missing, setMissing] = useState(false);
  const [put, busy, error] = useAction(async () => {
    await send("PUT", `${path}/${userId.trim()}`, {rank: rank || null, ...(admin ? {manager} : {})});
    await again();
    toast("Added", "good");
    onClose();
  });
  const submit = () => {
    const fine = /^[1-9]\d{0,18}$/.test(userId.trim());
    setMissing(!fine);
    if (fine) put();
  };
  const wrong = fieldErrors(error);
  return html`<${Dialog} title="Add a member" onClose=${onClose}>
    <${Form} onSubmit=${submit}>
      <${Input}
        label="Discord user id" inputmode="numeric" value=${userId} onInput=${setUserId}
        error=${missing ? "This is a number of up to 19 digits." : wrong.userId}
        hint="In Discord, with developer mode on: right-click a name, Copy User ID."
      />
      <${Select} label="Rank" value=${rank} onChange=${setRank} error=${wrong.rank}
        options=${[{value: "", label: "No rank"}, ...ranks.map((each) => ({value: each, label: each}))]} />
      ${admin && html`<${Switch} label="Manager" hint="May change these settings." checked=${manager} onChange=${setManager} />`}
      ${error && !wrong.userId && !wrong.rank && html`<${ErrorNote} error=${error} />`}
      <div class="row end"><${Button} kind="quiet" onClick=${onClose}>Cancel<//><${Button} kind="primary" type="submit" busy=${busy}>Add<//></div>
    <//>
  <//>`;
}

function Remove({path, again, member, onClose}) {
  const [remove, busy, error] = useAction(async () => {
    await send("DELETE", `${path}/${member.userId}`);
    await again();
    onClose();
  });
  return html`<${Confirm} title="Remove from the roster?" action="Remove" danger
    busy=${busy} error=${error} onYes=${remove} onClose=${onClose}
  ><p>${nameOf(member)} loses the rank, and with the next sync its role.</p><//>`;
}

/** First what would be done; done only when that was looked at. */
function Sync({org, members, onClose}) {
  const path = `/organizations/${org.id}/discord/sync-roles`;
  const [report, setReport] = useState(null);
  const [run, busy, error] = useAction(async (dryRun) => setReport(await send("POST", `${path}?dryRun=${dryRun}`)));
  const [begun, setBegun] = useState(false);
  if (!begun) {
    setBegun(true);
    run(true);
  }
  const known = new Map(members.map((member) => [member.userId, member]));
  const touched = (report?.members ?? []).filter(isTouched).map((each) => ({...known.get(each.userId), ...each}));
  const changing = touched.filter(({give, take}) => give.length + take.length > 0);
  const done = report && !report.dryRun;
  return html`<${Dialog} title=${done ? "Roles are synced" : "Sync roles"} wide onClose=${onClose} actions=${html`
    <${Button} kind="quiet" onClick=${onClose}>${done ? "Close" : "Cancel"}<//>
    ${!done && html`<${Button} kind="primary" busy=${busy && report} disabled=${changing.length === 0} onClick=${() => run(false)}>
      ${changing.length ? `Change ${count(changing.length, "member")}` : "Nothing to do"}
    <//>`}
  `}>
    ${busy && !report && html`<${Skeleton} lines=${4} />`}
    ${error && html`<${ErrorNote} error=${error} again=${() => run(true)} />`}
    ${report && !done && html`<p class="muted">This is what would be done. Discord lets a bot change about one role a second.</p>`}
    ${report && touched.length === 0 && html`<${Empty} icon="checkCircle" title="All have the roles of their ranks" />`}
    ${touched.length > 0 && html`<${Table} label="Changes" class="stacks" head=${["Member", "Rank", "Roles"]}>
      ${touched.map((member) => html`<tr key=${member.userId}>
        <td><${Who} member=${member} /></td>
        <td>${member.rank ?? html`<span class="muted">none</span>`}</td>
        <td><${Roles} member=${member} /></td>
      </tr>`)}
    <//>`}
  <//>`;
}

function isTouched({inServer, give, take, refused, problem}) {
  return !inServer || give.length + take.length + refused.length > 0 || problem !== null;
}

function Roles({member: {give, take, refused, problem}}) {
  return html`<div class="row">
    ${give.map((role) => html`<${Badge} key=${role.id} tone="good" icon="plus">${role.name}<//>`)}
    ${take.map((role) => html`<${Badge} key=${role.id} icon="minus">${role.name}<//>`)}
    ${refused.map((role) => html`<${Callout} key=${role.id} tone="warn">${role.message}<//>`)}
    ${problem && html`<${Callout} tone="bad">${problem.message}<//>`}
  </div>`;
}
