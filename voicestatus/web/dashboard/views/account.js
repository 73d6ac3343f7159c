/** One's own account: where one is signed in, and signing out. */

import {html} from "../vendor/preact.js";
import {Avatar, Badge, Button, Card, Empty, ErrorNote, Icon, Page, Skeleton, Time, toast} from "../ui.js";
import {send} from "../api.js";
import {useAction, useFetch} from "../hooks.js";
import {browserOf} from "../words.js";

const LEVELS = {
  admin: "You look after this server: signs, firmware and all communities.",
  member: "You see the communities whose Discord server you are in.",
  guest: "You are in no community here yet.",
};

/** @param {{me: any, signOut: (everywhere: boolean) => Promise<void>}} props */
export default function Account({me, signOut}) {
  const {data, error, loading, again} = useFetch("/me/sessions");
  const name = me.user?.displayName ?? "Admin token";
  return html`<${Page} title="Your account" narrow>
    <${Card}>
      <div class="account">
        <${Avatar} name=${name} url=${me.user?.avatarUrl} size=${52} />
        <div>
          <h2>${name}</h2>
          <p class="muted">${LEVELS[me.level]}</p>
        </div>
      </div>
    <//>
    <${Card} title="Sessions" sub="Browsers in which you are signed in. One that is not used for a day ends by itself.">
      ${loading && html`<${Skeleton} lines=${2} tall />`}
      ${error && html`<${ErrorNote} error=${error} again=${again} />`}
      ${data?.sessions.length === 0 && html`<${Empty} icon="key" title="There is no session" />`}
      ${data && html`<ul class="sessions">
        ${data.sessions.map((session) => html`<${Session} key=${session.id} session=${session} again=${again} signOut=${signOut} />`)}
      </ul>`}
      <div class="row">
        <${Button} icon="signOut" onClick=${() => signOut(false)}>Sign out here<//>
        ${data?.sessions.length > 1 && html`<${Button} kind="quiet" onClick=${() => signOut(true)}>Sign out everywhere<//>`}
      </div>
    <//>
  <//>`;
}

function Session({session, again, signOut}) {
  const [end, busy, error] = useAction(async () => {
    if (session.current) return signOut(false);
    await send("DELETE", `/me/sessions/${session.id}`);
    toast("The session has ended", "good");
    return again();
  });
  return html`<li>
    <${Icon} name=${/Mobile|Android|iPhone/.test(session.agent) ? "phone" : "stream"} />
    <div>
      <p><span class="strong" title=${session.agent}>${browserOf(session.agent)}</span> ${session.current && html`<${Badge} tone="good">This one<//>`}</p>
      <p class="muted small">Seen <${Time} at=${session.seenAt} />, signed in <${Time} at=${session.beganAt} /></p>
      ${error && html`<${ErrorNote} error=${error} />`}
    </div>
    ${!session.current && html`<${Button} small busy=${busy} onClick=${end}>End<//>`}
  </li>`;
}
