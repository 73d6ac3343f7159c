/** Privacy: what is kept, what of it is about oneself, and the button that erases it. */

import {html, useState} from "../vendor/preact.js";
import {address, send} from "../api.js";
import {useAction, useFetch} from "../hooks.js";
import {Button, Card, Confirm, ErrorNote, Form, Input, Page, Skeleton, toast} from "../ui.js";
import {count} from "../words.js";

const GROUPS = [
  {of: "people", title: "About people"},
  {of: "signs", title: "About signs"},
  {of: "server", title: "About the server"},
];
const PLACES = {
  store: "Stored",
  memory: "In memory",
  log: "In the log",
  "between nodes": "Between servers",
  browser: "In your browser",
};

/** @param {{me: any, signOut: any}} props `me` is null for who is not signed in */
export default function View({me, signOut}) {
  const {data, error, loading, again} = useFetch("/privacy");
  return html`<${Page} narrow title="Privacy" sub="Exactly what is kept, where, and for how long.">
    ${me?.user && html`<${Own} user=${me.user} signOut=${signOut} />`}
    ${loading && html`<${Skeleton} lines=${6} tall />`}
    ${error && html`<${ErrorNote} error=${error} again=${again} />`}
    ${data && html`
      <ul class="privacy-notes">${data.notes.map((note) => html`<li key=${note}>${note}</li>`)}</ul>
      ${GROUPS.map(({of, title}) => html`<${Group} key=${of} title=${title} kept=${data.kept.filter((each) => each.of === of)} />`)}
    `}
    ${me?.level === "admin" && html`<${Others} />`}
  <//>`;
}

function Group({title, kept}) {
  return html`<section class="privacy-group">
    <h2>${title}</h2>
    <ul>${kept.map((each) => html`<li key=${each.what} class="privacy-item">
      <p>${each.what}.</p>
      <dl>
        <div><dt>Where</dt><dd>${PLACES[each.place]}</dd></div>
        <div><dt>Until</dt><dd>${each.until}</dd></div>
        ${each.erased && html`<div><dt>Erased</dt><dd>${each.erased}</dd></div>`}
      </dl>
    </li>`)}</ul>
  </section>`;
}

function Own({user, signOut}) {
  const [asked, ask] = useState(false);
  const [erase, busy, error] = useAction(async () => {
    const {remains} = await send("POST", "/privacy/erase", {confirm: user.id});
    ask(false);
    toast(remains.includes("voice") ? "Erased, but for your place in voice." : "Erased. You are signed out.", "good");
    // The session is gone: this finds out, and shows the way in.
    await signOut(false);
  });
  return html`<${Card} title="Your own" sub=${`What is kept of ${user.displayName}, Discord id ${user.id}.`}>
    <div class="row">
      <a class="button plain" href=${address("/privacy/export")} download>Download it</a>
      <${Button} icon="trash" onClick=${() => ask(true)}>Erase it<//>
    </div>
    ${asked && html`<${Confirm}
      title="Erase what is kept of you?" action="Erase" danger busy=${busy} error=${error}
      onYes=${erase} onClose=${() => ask(false)}
    >
      <p>You are signed out everywhere and taken off every roster, with your rank. In the audit log your id is
        replaced. This cannot be undone.</p>
      <p class="muted">While you are in voice on Discord, the signs go on showing that somebody is there. That is
        forgotten when you leave.</p>
    <//>`}
  <//>`;
}

function Others() {
  const [user, setUser] = useState("");
  const [asked, ask] = useState(false);
  const [erase, busy, error] = useAction(async () => {
    const {erased} = await send("POST", "/privacy/erase", {user});
    const places = Object.values(erased).reduce((sum, each) => sum + each, 0);
    ask(false);
    toast(`Erased: named in ${count(places, "place")}.`, "good");
  });
  const known = /^[1-9]\d{0,19}$/.test(user);
  return html`<${Card} title="For somebody else" sub="Whoever asks you to be shown or forgotten, by their Discord id. Backups keep what they hold: delete those yourself.">
    <${Form} onSubmit=${() => known && ask(true)}>
      <${Input} label="Discord id" value=${user} onInput=${(text) => setUser(text.trim())} inputmode="numeric" placeholder="1187000000000000042" />
      <div class="row">
        <a class="button plain" aria-disabled=${known ? undefined : "true"} download
          href=${known ? address(`/privacy/export?user=${user}`) : undefined}>Download</a>
        <${Button} type="submit" icon="trash" disabled=${!known}>Erase<//>
      </div>
    <//>
    ${asked && html`<${Confirm}
      title=${`Erase what is kept of ${user}?`} action="Erase" danger busy=${busy} error=${error}
      onYes=${erase} onClose=${() => ask(false)}
    ><p>They are signed out and taken off every roster; ids in rules and in the audit log are replaced. This cannot
      be undone.</p><//>`}
  <//>`;
}
