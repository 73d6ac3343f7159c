/** One sign: what it shows and why, what it is to do, what it is. */

import {html, useState} from "../../vendor/preact.js";
import {send} from "../../api.js";
import {useAction} from "../../hooks.js";
import {Badge, Button, Callout, Confirm, Dialog, ErrorNote, Menu, MenuItem, Tabs, Icon, toast} from "../../ui.js";
import {ago} from "../../words.js";
import {Sheet} from "../fleet/sheet.js";
import {About} from "./about.js";
import {TokenOnce} from "./add-sign.js";
import {useDirectory} from "./directory.js";
import {signalOf, stateOf} from "./fleet.js";
import {SignLamp, SignalBars} from "./lamp.js";
import {RuleEditor} from "./rule-editor.js";
import {Why} from "./why.js";

const IDENTIFY_S = 8;

/**
 * @param {object} props
 * @param {object} props.device as the live channel tells it
 * @param {import("../../live-state.js").Live} props.live
 * @param {?object} props.light
 * @param {Map<string, number>} props.tags of the whole fleet
 * @param {() => void} props.onClose
 * @param {(id: string) => void} props.onRenamed an old sign has a lasting id now
 */
export function SignSheet({device, live, light, tags, onClose, onRenamed}) {
  const [tab, setTab] = useState("why");
  const [edited, setEdited] = useState(false);
  const [asking, setAsking] = useState(null);
  const named = device.rule?.users || device.rule?.roles;
  const directory = useDirectory(live.guilds, tab === "rule" || Boolean(named));
  const close = () => (edited ? setAsking("leave") : onClose());
  const path = `/devices/${encodeURIComponent(device.id)}`;
  const name = device.name || device.id;

  return html`<${Sheet}
    title=${name} onClose=${close}
    lead=${html`<${SignLamp} light=${light} away=${!device.connected} size=${40} />`}
    sub=${html`<${Standing} device=${device} />`}
  >
    <${Notes} device=${device} path=${path} onRenamed=${onRenamed} />
    <${Actions} device=${device} path=${path} onAsk=${setAsking} />
    <${Tabs} label="What about it" value=${tab} onChange=${setTab} tabs=${[
      {id: "why", label: "Why it shows this"},
      {id: "rule", label: edited ? "Rule (not saved)" : "Rule"},
      {id: "about", label: "Details"},
    ]} />
    <div role="tabpanel" class="sheet-panel">
      ${tab === "why" && html`<${Why} ...${{device, live, directory}} onEdit=${() => setTab("rule")} />`}
      ${(tab === "rule" || edited) && html`<div hidden=${tab !== "rule"}>${device.enrolled
        ? html`<${RuleEditor} device=${device} path=${path} directory=${directory} onEdited=${setEdited} />`
        : html`<p class="muted">A stranger has no rule of its own: it follows what its address names, or everything.</p>`}
      </div>`}
      ${tab === "about" && html`<${About} device=${device} path=${path} tags=${tags} />`}
    </div>
    <${Asking} what=${asking} device=${device} path=${path} onClose=${() => setAsking(null)} onLeave=${onClose} />
  <//>`;
}

function Standing({device}) {
  const {connected, lastSeen, fw, build, chip, rssiDbm, id, name} = device;
  const state = stateOf(device);
  return html`<div class="sign-standing">
    ${state === "revoked" && html`<${Badge} tone="bad">Revoked<//>`}
    ${connected
      ? html`<${Badge} tone="good">Online<//>`
      : html`<${Badge}>${lastSeen ? `Away, seen ${ago(lastSeen, Date.now())}` : "Never here"}<//>`}
    ${connected && rssiDbm !== null && html`<${SignalBars} dbm=${rssiDbm} ...${signalOf(rssiDbm)} />`}
    ${chip && html`<span class="muted small">${chip} ${fw}${build !== null && ` (build ${build})`}</span>`}
    ${name && html`<code class="muted small">${id}</code>`}
  </div>`;
}

/** What has to be known of it before anything else. */
function Notes({device, path, onRenamed}) {
  const [approve, approving, refused] = useAction(() => send("PATCH", path, {approved: true}));
  const [allow, allowing, notAllowed] = useAction(() => send("PATCH", path, {revoked: false}));
  const [probe, probing, unanswered] = useAction(async () => {
    const {device: id} = await send("POST", `${path}/commands`, {type: "probe"});
    if (id !== device.id) onRenamed(id);
    toast(`It is ${id}`, "good");
  });
  const state = stateOf(device);
  const error = refused ?? notAllowed ?? unanswered;
  const old = device.protocol === 1;
  return html`
    ${state === "waiting" && html`<${Callout} tone="warn" title="It waits for you to approve it"
      actions=${html`<${Button} small kind="primary" icon="check" busy=${approving} onClick=${approve}>Approve<//>`}
    ><p>Until then it follows its light with the shared token, and has none of its own.</p><//>`}
    ${state === "revoked" && html`<${Callout} tone="bad" title="It is revoked"
      actions=${html`<${Button} small busy=${allowing} onClick=${allow}>Let it in again<//>`}
    ><p>Its tokens open nothing.</p><//>`}
    ${!device.enrolled && html`<${Callout} title="A stranger, with the shared token"
      actions=${old && html`<${Button} small icon="chip" busy=${probing} onClick=${probe}>Ask what it is<//>`}
    >
      <p>It is listed while it is connected. To give it a name and a rule, add it by hand with a token of its own.</p>
      ${old && html`<p>Or ask what it is: it is dark for some seconds, and has a lasting id from then on.</p>`}
    <//>`}
    ${error && html`<${ErrorNote} error=${error} />`}`;
}

function Actions({device, path, onAsk}) {
  const command = async (body, words) => {
    await send("POST", `${path}/commands`, body);
    toast(words, "good");
  };
  const [identify, busy, error] = useAction(() =>
    command({type: "identify", seconds: IDENTIFY_S}, `It blinks for ${IDENTIFY_S} seconds`));
  const obeys = device.connected && device.protocol > 1;
  const why = !device.connected
    ? "It is away: commands need a sign that is connected."
    : "A sign of the first kind takes no commands.";
  return html`<div class="sign-actions">
    <${Button} icon="sun" busy=${busy} disabled=${!obeys} onClick=${identify}>Identify<//>
    <${Button} icon="power" disabled=${!obeys} onClick=${() => onAsk("reboot")}>Restart<//>
    ${device.enrolled && html`<${Menu}
      label="More for this sign" button=${html`<span class="button"><${Icon} name="dots" /></span>`}
    >
      <${MenuItem} icon="key" onClick=${() => onAsk("token")}>New token<//>
      ${!device.revoked && html`<${MenuItem} icon="lock" onClick=${() => onAsk("revoke")}>Revoke<//>`}
      <${MenuItem} icon="trash" onClick=${() => onAsk("forget")}>Forget<//>
    <//>`}
    ${!obeys && html`<p class="hint">${why}</p>`}
    ${error && html`<${ErrorNote} error=${error} />`}
  </div>`;
}

const QUESTIONS = {
  leave: {
    title: "Leave the rule unsaved?",
    words: "What you changed in its rule is lost.",
    action: "Leave it",
    danger: true,
  },
  reboot: {
    title: "Restart it?",
    words: "It is dark for some seconds, and dials in again.",
    action: "Restart",
  },
  revoke: {
    title: "Revoke it?",
    words:
      "Its connection ends at once, and its tokens open nothing any more. " +
      "What is known of it stays; you can let it in again.",
    action: "Revoke",
    danger: true,
  },
  forget: {
    title: "Forget it?",
    words:
      "Its name, tags, rule and tokens are deleted, and its connection ends. " +
      "Where enrolment is open it may come back as a new one.",
    action: "Forget",
    danger: true,
  },
  token: {
    title: "Make a new token?",
    words:
      "The old one is good until the new one is used, and ten minutes longer. " +
      "A connected sign of the second kind is sent it by itself.",
    action: "Make it",
  },
};

/** Asks, does it, and says what came of it. */
function Asking({what, device, path, onClose, onLeave}) {
  const [token, setToken] = useState("");
  const [yes, busy, error] = useAction(async () => {
    if (what === "token") return setToken((await send("POST", `${path}/token`)).token);
    if (what === "reboot") await send("POST", `${path}/commands`, {type: "reboot"});
    if (what === "revoke") await send("PATCH", path, {revoked: true});
    if (what === "forget") await send("DELETE", path);
    if (what === "forget" || what === "leave") return onLeave();
    toast(what === "reboot" ? "It restarts" : "It is let in no more", "good");
    return onClose();
  });
  if (token) {
    const close = () => {
      setToken("");
      onClose();
    };
    return html`<${Dialog} title="Its new token" onClose=${close}
      actions=${html`<${Button} kind="primary" onClick=${close}>Done<//>`}
    ><${TokenOnce} token=${token}>${device.connected && device.protocol > 1
      ? "The sign was sent it: you need it only if that sign loses it. The server keeps no copy."
      : undefined}<//><//>`;
  }
  if (what === null) return null;
  const {title, words, action, danger} = QUESTIONS[what];
  return html`<${Confirm} title=${title} ...${{action, danger, busy, error, onClose}} onYes=${yes}>
    <p>${words}</p>
  <//>`;
}
