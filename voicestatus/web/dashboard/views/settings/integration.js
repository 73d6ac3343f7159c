/** The linked Discord server, and what the bot may do there. */

import {html} from "../../vendor/preact.js";
import {Button, Callout, ErrorNote, Icon, Section, Select, Skeleton} from "../../ui.js";
import {useFetch} from "../../hooks.js";

/** @param {{org: any, me: any, form: any}} props */
export function Integration({org, me, form}) {
  const guild = form.saved.discordGuildId;
  return html`<${Section}
    title="Integrations" id="integrations"
    sub="Where people talk and write. Once the server is linked, its channels and roles can be chosen below."
  >
    <${LinkedServer} ...${{org, me, form}} />
    ${guild ? html`<${Permissions} guild=${guild} />` : html`<${InviteBot} />`}
  <//>`;
}

function LinkedServer({org, me, form}) {
  const admin = me.level === "admin";
  const {data} = useFetch(admin ? "/presence" : null);
  const linked = form.value("discordGuildId");
  if (!admin) {
    return html`<div class="field">
      <p class="legend">Discord server</p>
      <p>${linked ? (org.guildName ?? html`<code>${linked}</code>`) : "None is linked; the owner of this page can do that."}</p>
    </div>`;
  }
  const known = (data?.guilds ?? []).map(({id, name}) => ({value: id, label: name}));
  const strange = linked && !known.some(({value}) => value === linked);
  return html`<${Select}
    label="Discord server" value=${linked ?? ""} error=${form.wrong.discordGuildId}
    hint="Servers that the bot is in. Another server takes away the channels and roles that are chosen below."
    onChange=${(value) => form.set("discordGuildId", value || null)}
    options=${[
      {value: "", label: "None"},
      ...(strange ? [{value: linked, label: org.guildName ?? linked}] : []),
      ...known,
    ]}
  />`;
}

/** The required permissions; whenever a server is linked, with the way to grant them. */
function Permissions({guild}) {
  const bot = useFetch(`/discord/bot-invite?guildId=${guild}`);
  const health = useFetch(`/discord/${guild}/permissions`);
  if (bot.loading || health.loading) return html`<${Skeleton} lines=${5} />`;
  const missing = new Set(health.data?.missing.map(({name}) => name));
  const required = bot.data?.requiredPermissions ?? [];
  const url = health.data?.reauthorizeUrl ?? bot.data?.url;
  const troubled = (health.data?.channels ?? []).filter((channel) => channel.missing.length > 0);
  const fine = health.data && missing.size === 0;
  return html`
    ${health.error && html`<${ErrorNote} error=${health.error} again=${health.again} title="The permissions could not be checked" />`}
    ${bot.error && html`<${ErrorNote} error=${bot.error} again=${bot.again} title="The bot’s invite could not be made" />`}
    <${Callout} tone=${missing.size ? "warn" : "info"} title="Update bot permissions"
      actions=${url && html`<${Button} icon="external" href=${url} external>${missing.size ? "Grant what is missing" : "Authorize again"}<//>`}
    >
      <p>${fine
        ? "The bot has all that it needs."
        : "Authorizing again in Discord adds what is missing; the bot need not be removed first."}</p>
      <ul class="permissions">
        ${required.map(({name, neededFor}) => html`<li key=${name} class=${missing.has(name) ? "missing" : ""}>
          <${Icon}
            name=${missing.has(name) ? "x" : health.data ? "check" : "minus"} size=${16}
            label=${missing.has(name) ? "missing" : health.data ? "granted" : "not checked"}
          />
          <span><span class="strong">${name}</span> <span class="muted small">${neededFor}</span></span>
        </li>`)}
      </ul>
      ${troubled.map((channel) => html`<p key=${channel.id} class="small">
        In <span class="strong">#${channel.name ?? channel.id}</span> it lacks ${channel.missing.map(({name}) => name).join(", ")}.
      </p>`)}
    <//>
  `;
}

function InviteBot() {
  const {data, error, loading, again} = useFetch("/discord/bot-invite");
  if (error) return html`<${ErrorNote} error=${error} again=${again} />`;
  return html`<${Callout} title="The bot has to be in the server"
    actions=${html`<${Button} icon="external" busy=${loading} href=${data?.url} external>Invite the bot<//>`}
  ><p>Once it is there, link the server above.</p><//>`;
}

/** Channels or roles that did not load: mostly the bot is not there, or may not see them. */
export function LoadProblem({what, guild, error, again}) {
  const {data} = useFetch(`/discord/bot-invite?guildId=${guild}`);
  const url = error.details?.reauthorizeUrl ?? data?.url;
  return html`<div class="stack tight">
    <${ErrorNote} error=${error} again=${again} title=${`${what} could not be loaded`} />
    ${url && html`<div class="row"><${Button} icon="external" href=${url} external>Invite the bot, or update its permissions<//></div>`}
  </div>`;
}
