/** What was written last, channel by channel. Text is text: nothing of it is markup. */

import {html} from "../../vendor/preact.js";
import {Avatar, Badge, Callout, Card, Empty, Icon, Time} from "../../ui.js";
import {count} from "../../words.js";
import {parts} from "../../rich-text.js";

const ICONS = {text: "hash", announcement: "megaphone"};
const FAILED = new Set(["MISSING_PERMISSION", "DISCORD_ERROR", "DISCORD_UNAVAILABLE"]);

/** @param {{activity: any, manager: boolean}} props */
export function Messages({activity, manager}) {
  const {textChannels, unavailable, contentAvailable} = activity;
  const written = textChannels.filter((channel) => channel.messages.length > 0);
  const failed = unavailable.filter(({reason}) => FAILED.has(reason));
  if (textChannels.length === 0 && failed.length === 0) return null;
  return html`<${Card} title="Recent messages" class="messages">
    ${contentAvailable === false && manager && html`<${Callout} title="Discord keeps the texts back">
      <p>Switch on <em>Message Content Intent</em> for the bot in Discord’s developer portal.</p>
    <//>`}
    ${written.length === 0 && failed.length === 0 && html`<${Empty} icon="message" title="Nothing was written yet" />`}
    ${written.map((channel) => html`<section key=${channel.id} class="message-channel">
      <h3 class="muted"><${Icon} name=${ICONS[channel.type]} size=${15} />${channel.name}</h3>
      <ol>${channel.messages.map((message) => html`<${Message} key=${message.id} message=${message} />`)}</ol>
    </section>`)}
    ${failed.length > 0 && html`<p class="muted small unread">
      ${count(failed.length, "channel")} could not be read${manager && failed.some(({reason}) => reason === "MISSING_PERMISSION")
        ? html`: <a href="/settings">the bot lacks a permission</a>` : ""}.
    </p>`}
  <//>`;
}

function Message({message}) {
  const {author, content, attachmentCount, url} = message;
  return html`<li class="message">
    <${Avatar} name=${author.displayName} url=${author.avatarUrl} size=${28} />
    <div>
      <p class="message-head">
        <span class="strong clip">${author.displayName}</span>
        ${author.bot && html`<${Badge}>Bot<//>`}
        <a class="muted small nowrap" href=${url} target="_blank" rel="noopener noreferrer" aria-label="Open in Discord"><${Time} at=${message.createdAt} /></a>
      </p>
      ${content && html`<p class="message-text">${parts(content).map((part, i) => part.href
        ? html`<a key=${i} href=${part.href} target="_blank" rel="noopener noreferrer nofollow">${part.text}</a>`
        : part.text)}${message.editedAt && html` <span class="muted small">(edited)</span>`}</p>`}
      ${attachmentCount > 0 && html`<p class="muted small with-icon"><${Icon} name="link" size=${14} />${count(attachmentCount, "attachment")}</p>`}
      ${!content && attachmentCount === 0 && html`<p class="muted small">No text to show</p>`}
    </div>
  </li>`;
}
