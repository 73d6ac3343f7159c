/** Who is in voice: a headline, a sheet for each channel with people, a line for the rest. */

import {html, useEffect} from "../../vendor/preact.js";
import {Avatar, Badge, Callout, Dot, Icon, Lamp, Skeleton} from "../../ui.js";
import {count} from "../../words.js";
import {inOrder} from "../../voice.js";

const MARKS = [
  ["streaming", "stream", "streams"],
  ["video", "video", "camera on"],
  ["selfDeaf", "deaf", "deafened"],
  ["selfMute", "mute", "muted"],
  ["suppressed", "people", "in the audience"],
];
const ICONS = {voice: "voice", stage: "stage"};

/**
 * @param {{name: string, channels: import("../../voice.js").Channel[], waiting: boolean,
 *   failed: boolean, status: string, sight: string | null}} props
 *   `waiting`: nothing is known yet; `failed`: and it could not be asked
 */
export function VoiceBoard({name, channels, waiting, failed, status, sight}) {
  const people = channels.flatMap((channel) => channel.members).filter((member) => !member.bot).length;
  const busy = channels.filter((channel) => channel.members.length > 0);
  const empty = channels.filter((channel) => channel.members.length === 0);
  const nowhere = !waiting && channels.length === 0;
  let sub = place(busy);
  if (waiting) sub = "Looking who is there";
  else if (nowhere) sub = failed ? "Who is there is not known just now" : "There is no voice channel to show";
  useEffect(() => {
    document.title = people ? `(${people}) ${name} · voicestatus` : `${name} · voicestatus`;
  }, [people, name]);

  return html`
    <div class="hero">
      <${Lamp} on=${people > 0} unknown=${waiting || nowhere || sight === "unknown"} size=${30} />
      <div>
        <h1 aria-live="polite">${waiting || nowhere ? name : headline(people)}</h1>
        <p class="muted hero-sub">
          <span>${sub}</span>
          <${Link} status=${status} sight=${sight} />
        </p>
      </div>
    </div>
    ${sight === "stale" && html`<${Callout} tone="warn" title="Discord cannot be heard just now">
      <p>This is how it was last seen. It goes on by itself.</p>
    <//>`}
    ${waiting && html`<div class="channels">
      <div class="card"><${Skeleton} lines=${4} tall /></div>
      <div class="card"><${Skeleton} lines=${2} tall /></div>
    </div>`}
    <div class=${`channels ${status === "lost" ? "dim" : ""}`}>
      ${busy.map((channel) => html`<${ChannelCard} key=${channel.id} channel=${channel} />`)}
    </div>
    ${empty.length > 0 && html`<div class="empty-channels">
      <h2 class="small muted">${busy.length ? "Empty" : "Channels"}</h2>
      <ul>
        ${empty.map((channel) => html`<li key=${channel.id}><${Icon} name=${ICONS[channel.type]} size=${15} />${channel.name}</li>`)}
      </ul>
    </div>`}
  `;
}

function headline(people) {
  return people === 0 ? "Nobody is in voice" : `${count(people, "person", "people")} in voice`;
}

function place(busy) {
  const talking = busy.filter((channel) => channel.members.some((member) => !member.bot));
  if (talking.length === 0) return "It is quiet";
  if (talking.length === 1) return `in ${talking[0].name}`;
  return `in ${talking.length} channels`;
}

function Link({status, sight}) {
  if (status === "lost") return html`<${Badge} tone="warn"><span class="spinner"></span> Reconnecting<//>`;
  if (status === "connecting") return html`<${Badge}>Connecting<//>`;
  if (sight === "stale") return html`<${Badge} tone="warn">Paused<//>`;
  return html`<${Badge} tone="good"><${Dot} tone="good" /> Live<//>`;
}

function ChannelCard({channel}) {
  return html`<section class="card channel" aria-label=${channel.name}>
    <div class="channel-head">
      <${Icon} name=${ICONS[channel.type]} />
      <h2 class="clip">${channel.name}</h2>
      <span class="muted small nums" aria-label=${count(channel.members.length, "person", "people")}>${channel.members.length}</span>
    </div>
    <ul class="people">
      ${inOrder(channel.members).map((member) => html`<${Person} key=${member.userId} member=${member} />`)}
    </ul>
  </section>`;
}

function Person({member}) {
  return html`<li class="person">
    <${Avatar} name=${member.displayName} url=${member.avatarUrl} size=${32} speaking=${member.speaking} />
    <span class="clip">${member.displayName}</span>
    ${member.bot && html`<${Badge}>Bot<//>`}
    <span class="marks">
      ${member.speaking && html`<span class="out-of-sight">speaking</span>`}
      ${MARKS.map(([key, icon, label]) => member[key] && html`<span
        key=${key} class=${`mark ${key}`} title=${label}
      ><${Icon} name=${icon} size=${16} label=${label} /></span>`)}
    </span>
  </li>`;
}
