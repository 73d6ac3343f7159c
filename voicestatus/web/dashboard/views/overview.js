/** What goes on in a community now: who is in voice, what was written, how to come in. */

import {html} from "../vendor/preact.js";
import {Button, Empty, ErrorNote, Page, Skeleton} from "../ui.js";
import {useFetch} from "../hooks.js";
import {InviteCard, PermissionsCard} from "./overview/cards.js";
import {Messages} from "./overview/messages.js";
import {VoiceBoard} from "./overview/voice-board.js";
import {useDiscordVoiceStream} from "../use-voice-stream.js";

const TEXT_EVERY_S = 30;
const NONE = [];

/** @param {{me: any, org: any}} props */
export default function Overview({me, org}) {
  if (!org) return html`<${NoCommunity} me=${me} />`;
  if (!org.discordGuildId) return html`<${NotLinked} org=${org} />`;
  if (!org.botPresent) return html`<${BotAway} org=${org} />`;
  return html`<${Guild} org=${org} />`;
}

function Guild({org}) {
  const guild = org.discordGuildId;
  const chosen = org.discordOverviewChannelIds;
  const filter = chosen.length ? `?channelIds=${chosen.join(",")}` : "";
  const activity = useFetch(`/discord/${guild}/activity${filter}`, {everyS: TEXT_EVERY_S});
  const inside = useFetch(`/organizations/${org.id}/discord/in-server`);
  const permissions = useFetch(org.manager ? `/discord/${guild}/permissions` : null);
  const {data, error, loading, askedAt, again} = activity;
  const voice = useDiscordVoiceStream(guild, data?.voiceChannels ?? NONE, askedAt);
  const shown = chosen.length ? voice.channels.filter(({id}) => chosen.includes(id)) : voice.channels;
  const waiting = loading && voice.channels.length === 0;
  // What comes later must not push away what is being read.
  const asideWaits = inside.loading || permissions.loading;

  return html`<div class="overview">
    <div class="overview-main">
      <${VoiceBoard} name=${org.name} channels=${shown} waiting=${waiting} failed=${Boolean(error) && !data} status=${voice.status} sight=${voice.sight} />
    </div>
    <aside class="overview-aside" aria-label="Messages and invite">
      ${asideWaits
        ? html`<div class="card"><${Skeleton} lines=${6} /></div>`
        : html`
          <${InviteCard} org=${org} inside=${inside.data} />
          ${permissions.data && html`<${PermissionsCard} health=${permissions.data} />`}
          ${error && html`<${ErrorNote} error=${error} again=${again} title="The messages could not be loaded" />`}
          ${loading && html`<div class="card"><${Skeleton} lines=${6} /></div>`}
          ${data && html`<${Messages} activity=${data} manager=${org.manager} />`}
        `}
    </aside>
  </div>`;
}

function NoCommunity({me}) {
  return html`<${Page} title="Overview">
    <div class="card">
      ${me.level === "admin"
        ? html`<${Empty}
            icon="bot" title="The bot is in no Discord server yet"
            action=${html`<${InviteBot} />`}
          >Invite it to yours. Its channels are here a moment later; nothing else has to be set up.<//>`
        : html`<${Empty} icon="people" title="There is no community of yours here">
            You see the communities whose Discord server you are in. Whoever sent you here can tell you how to join.
          <//>`}
    </div>
  <//>`;
}

function BotAway({org}) {
  return html`<${Page} title=${org.name}>
    <div class="card">
      <${Empty}
        icon="bot" title="The bot is not in the Discord server"
        action=${org.manager && html`<${InviteBot} guild=${org.discordGuildId} />`}
      >What goes on there shows here as soon as it is.<//>
    </div>
  <//>`;
}

/** Leads to where Discord lets a bot in. */
function InviteBot({guild}) {
  const {data, error, loading, again} = useFetch(`/discord/bot-invite${guild ? `?guildId=${guild}` : ""}`);
  if (error) return html`<${ErrorNote} error=${error} again=${again} />`;
  return html`<${Button} kind="primary" icon="external" busy=${loading} href=${data?.url} external>Invite the bot<//>`;
}

function NotLinked({org}) {
  return html`<${Page} title=${org.name}>
    <div class="card">
      <${Empty}
        icon="link" title="No Discord server is linked"
        action=${org.manager && html`<${Button} kind="primary" href="/settings">To the settings<//>`}
      >As soon as one is, who is in voice and what was written shows here.<//>
    </div>
  <//>`;
}
