/** Beside the voice channels: how to come in, and what the bot lacks. */

import {html, useState} from "../../vendor/preact.js";
import {Button, Callout, Card, CopyButton, ErrorNote, Time} from "../../ui.js";
import {get} from "../../api.js";
import {useAction} from "../../hooks.js";

/** An invite for who is not in the server; nobody else sees it. */
export function InviteCard({org, inside}) {
  const [invite, setInvite] = useState(null);
  const [joined, setJoined] = useState(false);
  const [ask, busy, error] = useAction(async () => {
    try {
      setInvite(await get(`/organizations/${org.id}/discord/server-invite`));
    } catch (error) {
      if (error.code !== "ALREADY_IN_DISCORD_SERVER") throw error;
      setJoined(true);
    }
  });
  const wanted = inside && !inside.inServer && (inside.reason === null || inside.reason === "UNKNOWN");
  if (!wanted || joined) return null;
  return html`<${Card} title="Join the server" class="invite">
    ${invite
      ? html`
        <p class="invite-url mono clip">${invite.url.replace(/^https:\/\//, "")}</p>
        <div class="row">
          <${Button} kind="discord" icon="external" href=${invite.url} external>Open Discord<//>
          <${CopyButton} text=${invite.url} label="Copy link" />
        </div>
        <p class="muted small">Runs out <${Time} at=${invite.expiresAt} />.</p>`
      : html`
        <p class="muted">You are not in ${org.guildName ?? "this community’s Discord"} yet.</p>
        ${error && html`<${ErrorNote} error=${error} />`}
        <div class="row"><${Button} kind="discord" busy=${busy} onClick=${ask}>Get an invite<//></div>`}
  <//>`;
}

/** What the bot may not do and needs to; nothing, when there is nothing. */
export function PermissionsCard({health}) {
  if (health.missing.length === 0) return null;
  return html`<${Callout} tone="warn" title="Update bot permissions" actions=${html`
      <${Button} small icon="external" href=${health.reauthorizeUrl} external>Update in Discord<//>
      <${Button} small kind="quiet" href="/settings">Details<//>`}>
    <p>It lacks ${health.missing.map(({name}) => name).join(", ")}.</p>
  <//>`;
}
