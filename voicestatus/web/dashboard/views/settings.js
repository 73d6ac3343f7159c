/** The settings of a community. What is changed here waits until it is saved. */

import {html, useEffect, useState} from "../vendor/preact.js";
import {Button, Empty, ErrorNote, Page, Section, Skeleton, toast} from "../ui.js";
import {send} from "../api.js";
import {useAction, useFetch} from "../hooks.js";
import {count, fieldErrors} from "../words.js";
import {ApiTokens} from "./settings/tokens.js";
import {ChannelList, ChannelSelect} from "./settings/channels.js";
import {Events} from "./settings/events.js";
import {Integration, LoadProblem} from "./settings/integration.js";
import {Ranks} from "./settings/ranks.js";
import {Roster} from "./settings/roster.js";
import {changed} from "./settings/draft.js";

/** @param {{me: any, org: any, reloadOrgs: () => void}} props */
export default function Settings({me, org, reloadOrgs}) {
  return html`<${Page} title="Settings" sub=${org?.name}>
    ${org
      ? html`<${Community} org=${org} me=${me} reloadOrgs=${reloadOrgs} />`
      : html`<div class="card"><${Empty} icon="gear" title="No community yet">
          There is one as soon as the bot is in a Discord server.
        <//></div>`}
    ${me.level === "admin" && html`<${ApiTokens} />`}
  <//>`;
}

function Community({org, me, reloadOrgs}) {
  const path = `/organizations/${org.id}/settings`;
  const {data, error, loading, again} = useFetch(path);
  const [answer, setAnswer] = useState(null);
  const [draft, setDraft] = useState({});
  const saved = answer ?? data;
  const [save, busy, refused] = useAction(async () => {
    const told = await send("PATCH", path, draft);
    setAnswer(told);
    setDraft({});
    toast("Saved", "good");
    reloadOrgs(); // its server and the channels of its overview are known there, too
  });
  useUnsavedWarning(Object.keys(draft).length > 0);
  const wrong = fieldErrors(refused);
  useEffect(() => {
    if (refused) document.querySelector(".section .wrong, .section [aria-invalid]")?.scrollIntoView({block: "center"});
  }, [refused]);

  if (loading) return html`<div class="card"><${Skeleton} lines=${8} tall /></div>`;
  if (!saved) return html`<${ErrorNote} error=${error} again=${again} />`;
  const form = {
    value: (key) => (key in draft ? draft[key] : saved[key]),
    set: (key, value) => setDraft((was) => changed(was, saved, key, value)),
    wrong,
    saved,
  };
  const discard = () => setDraft({});
  return html`<div class="sections">
    <${Discord} ...${{org, me, form}} />
    <${Roster} org=${org} me=${me} ranks=${Object.keys(saved.discordRankRoles)} />
    <${SaveBar} ...${{draft, busy, refused, wrong, save, discard}} />
  </div>`;
}

/** All that is set of the linked server; its channels and roles are what one chooses from. */
function Discord({org, me, form}) {
  const guild = form.saved.discordGuildId;
  const channels = useFetch(guild && `/discord/${guild}/channels`);
  const roles = useFetch(guild && `/discord/${guild}/roles`);
  const integration = html`<${Integration} ...${{org, me, form}} />`;
  if (!guild) return integration;
  return html`
    ${integration}
    ${channels.error && html`<${LoadProblem} what="The channels" guild=${guild} ...${channels} />`}
    <${Section} title="Overview" sub="The channels that the overview shows, in this order. Without any it shows all.">
      <${ChannelList} ...${form} channels=${channels.data} loading=${channels.loading} />
    <//>
    <${Section} title="Invites" sub="People who are not in the server can ask for an invite on the overview.">
      <${ChannelSelect}
        label="Invite channel" name="discordInviteChannelId" kinds=${["text", "announcement"]}
        none="The first channel of the overview" hint="An invite leads here." ...${form} channels=${channels.data}
      />
    <//>
    <${Events} form=${form} channels=${channels.data} />
    ${roles.error && html`<${LoadProblem} what="The roles" guild=${guild} ...${roles} />`}
    <${Ranks} form=${form} roles=${roles.data} />
  `;
}

/** Says that something is not saved, as long as that is so. */
function SaveBar({draft, busy, refused, wrong, save, discard}) {
  const changes = Object.keys(draft).length;
  if (changes === 0) return null;
  const told = Object.values(wrong).length > 0;
  return html`<div class="save-bar" role="region" aria-label="Unsaved changes">
    ${refused && !told && html`<${ErrorNote} error=${refused} />`}
    <div class="row between">
      <p class="strong">${told ? "One thing is wrong; it is marked above." : count(changes, "unsaved change")}</p>
      <div class="row">
        <${Button} kind="quiet" onClick=${discard} disabled=${busy}>Discard<//>
        <${Button} kind="primary" onClick=${save} busy=${busy}>Save<//>
      </div>
    </div>
  </div>`;
}

function useUnsavedWarning(unsaved) {
  useEffect(() => {
    if (!unsaved) return undefined;
    const warn = (event) => event.preventDefault();
    const ask = (event) => confirm("Leave without saving?") || event.preventDefault();
    addEventListener("beforeunload", warn);
    addEventListener("leaving", ask);
    return () => {
      removeEventListener("beforeunload", warn);
      removeEventListener("leaving", ask);
    };
  }, [unsaved]);
}
