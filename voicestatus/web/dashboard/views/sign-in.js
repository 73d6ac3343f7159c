/** Signing in: with Discord, or with the admin token. */

import {html, useState} from "../vendor/preact.js";
import {Button, ErrorNote, Form, Input, Skeleton} from "../ui.js";
import {send} from "../api.js";
import {useAction, useFetch} from "../hooks.js";

/** @param {{next: string, signedIn: () => Promise<void>}} props */
export default function SignIn({next, signedIn}) {
  const {data, error, loading, again} = useFetch("/sign-in");
  const [byToken, setByToken] = useState(false);
  return html`<div class="sign-in">
    <div class="sign-in-head">
      <span class="brand-mark" aria-hidden="true"></span>
      <h1>Sign in to voicestatus</h1>
      <p class="muted">See who is in voice, and look after the signs that show it.</p>
    </div>
    <div class="card">
      ${loading && html`<${Skeleton} lines=${2} tall />`}
      ${error && html`<${ErrorNote} error=${error} again=${again} />`}
      ${data && html`<div class="stack">
        ${data.discord && html`<${Button}
          kind="discord" class="wide" href=${`/auth/discord?next=${encodeURIComponent(next)}`}
        >Continue with Discord<//>`}
        ${data.adminToken && (byToken || !data.discord) && html`<${TokenForm} signedIn=${signedIn} focus=${byToken} />`}
        ${data.adminToken && data.discord && !byToken && html`<${Button}
          kind="quiet" class="wide" icon="key" onClick=${() => setByToken(true)}
        >Use the admin token<//>`}
      </div>`}
    </div>
    <p class="muted small">${data?.discord && `Discord tells us your name, your picture and in which servers you are.
      The list of servers is looked at and not kept. `}<a href="/privacy">What is kept of you</a></p>
  </div>`;
}

function TokenForm({signedIn, focus}) {
  const [token, setToken] = useState("");
  const [missing, setMissing] = useState(false);
  const [show, busy, error] = useAction(async () => {
    await send("POST", "/auth/token", {token: token.trim()});
    await signedIn();
  });
  const submit = () => {
    setMissing(!token.trim());
    if (token.trim()) show();
  };
  const wrong = error?.status === 401;
  const said = missing ? "Enter the token." : wrong ? "That is not the admin token." : undefined;
  return html`<${Form} onSubmit=${submit}>
    <input type="text" name="username" autocomplete="username" value="admin" hidden readonly />
    <${Input}
      label="Admin token" type="password" name="token" autocomplete="current-password" value=${token}
      onInput=${setToken} error=${said} autofocus=${focus} spellcheck=${false}
      hint=${html`The <code>ADMIN_TOKEN</code> of the server’s settings.`}
    />
    ${error && !wrong && html`<${ErrorNote} error=${error} />`}
    <${Button} kind="primary" class="wide" type="submit" busy=${busy}>Sign in<//>
  <//>`;
}
