/** Firmware: what may be rolled out, what is on its way, and what became of it. */

import {html, useEffect, useMemo, useState} from "../vendor/preact.js";
import {useFetch} from "../hooks.js";
import {useAdminSocket} from "../live.js";
import {Button, CopyButton, Empty, Page, Skeleton, Table, Time, Badge, Card} from "../ui.js";
import {useAddressKey} from "./fleet/address.js";
import {LinkMark, LinkNote} from "./fleet/link.js";
import {isAlive, merged, statusOf, titleOf, totals} from "./firmware/progress.js";
import {Releases} from "./firmware/releases.js";
import {RolloutCard, RolloutSheet} from "./firmware/rollout.js";
import {Trouble} from "./firmware/trouble.js";
import {Upload} from "./firmware/upload.js";
import {Wizard} from "./firmware/wizard.js";
import {census} from "./signs/fleet.js";

const BADGES = {accent: "info", muted: ""};

/** @param {{query: URLSearchParams}} props */
export default function Firmware({query}) {
  const socket = useAdminSocket();
  const {live, link} = socket;
  const listed = useFetch("/firmware/rollouts?limit=50");
  // What ended while the link was away is told by the list alone.
  useEffect(() => {
    if (link === "live" && listed.data) listed.again();
  }, [link]);
  const [open, setOpen] = useAddressKey("rollout", query);
  const [uploading, setUploading] = useState(false);
  const [wizard, setWizard] = useState(null);
  const tally = useMemo(() => census(live.devices.values()), [live.devices]);
  const running = useMemo(() => builds(live.devices.values()), [live.devices]);
  const releases = useMemo(() => newest(live.releases.values()), [live.releases]);
  const rollouts = merged(listed.data?.rollouts ?? [], live.rollouts.values());
  const alive = rollouts.filter(isAlive);
  const over = rollouts.filter((rollout) => !isAlive(rollout));
  const there = live.whole;
  const title = (rollout) => titleOf(rollout, live.releases);

  return html`<${Page}
    title="Firmware" sub="Signed builds, rolled out in stages that stop by themselves."
    actions=${html`<${LinkMark} link=${link} />
      <${Button} icon="upload" onClick=${() => setUploading(true)}>Upload<//>
      <${Button} kind="primary" icon="play" disabled=${releases.length === 0} onClick=${() => setWizard([])}>Roll out<//>`}
  >
    <${LinkNote} ...${socket} />
    ${!there && link === "connecting" && html`<${Skeleton} lines=${6} tall />`}
    ${listed.error && html`<${Trouble} error=${listed.error} again=${listed.again} />`}
    ${alive.length > 0 && html`<section class="rollouts" aria-label="Under way">
      ${alive.map((rollout) => html`<${RolloutCard}
        key=${rollout.id} rollout=${rollout} title=${title(rollout)} onOpen=${() => setOpen(rollout.id)}
      />`)}
    </section>`}
    ${there && releases.length === 0 && html`<${NoReleases} onUpload=${() => setUploading(true)} />`}
    ${releases.length > 0 && html`<${Releases}
      releases=${releases} running=${running} onRollOut=${(id) => setWizard([id])}
    />`}
    ${over.length > 0 && html`<${Over} rollouts=${over} titleOf=${title} onOpen=${setOpen} />`}
    ${uploading && html`<${Upload} onClose=${() => setUploading(false)} onRollOut=${(id) => setWizard([id])} />`}
    ${wizard && html`<${Wizard}
      releases=${releases} chosen=${wizard} devices=${[...live.devices.values()]} tally=${tally}
      onClose=${() => setWizard(null)}
      onStarted=${({id}) => {
        setWizard(null);
        setOpen(id);
      }}
    />`}
    ${open && html`<${RolloutSheet}
      key=${open} id=${open} live=${live.rollouts.get(open)} titleOf=${title}
      nameOf=${(id) => live.devices.get(id)?.name || id}
      onClose=${() => setOpen("")} onOpen=${setOpen}
    />`}
  <//>`;
}

const SIGN = `voicestatus sign firmware.bin \\
  --key release.key --version 1.5.0 \\
  --build 20 --chip esp32`;

function NoReleases({onUpload}) {
  return html`<${Card}><${Empty} icon="chip" title="No release yet"
    action=${html`<${Button} kind="primary" icon="upload" onClick=${onUpload}>Upload a release<//>`}
  >
    <p>Sign what you built, on a machine that is not the server:</p>
    <div class="commands">
      <pre tabindex="0">${SIGN}</pre>
      <${CopyButton} small text=${SIGN} />
    </div>
    <p>Then upload the image and its manifest here.</p>
  <//><//>`;
}

function Over({rollouts, titleOf, onOpen}) {
  return html`<${Card} title="Past rollouts" flush>
    <${Table} label="Past rollouts" head=${["Rollout", "How it ended", "Updated", "Failed", "Ended"]}>
      ${rollouts.map((rollout) => {
        const {words, tone} = statusOf(rollout);
        const {good, bad} = totals(rollout);
        return html`<tr key=${rollout.id}>
          <td><button
            type="button" class="release-name" onClick=${() => onOpen(rollout.id)}
          >${titleOf(rollout)}</button></td>
          <td><${Badge} tone=${BADGES[tone] ?? tone}>${words}<//></td>
          <td>${good.toLocaleString("en")}</td>
          <td>${bad > 0
            ? html`<span class="phase bad">${bad.toLocaleString("en")}</span>`
            : html`<span class="muted">none</span>`}</td>
          <td class="nowrap"><${Time} at=${rollout.endedAt} /></td>
        </tr>`;
      })}
    <//>
  <//>`;
}

function builds(devices) {
  const running = new Map();
  for (const {chip, build, connected} of devices) {
    if (!connected || build === null) continue;
    const key = `${chip} ${build}`;
    running.set(key, (running.get(key) ?? 0) + 1);
  }
  return running;
}

function newest(releases) {
  return [...releases].sort((a, b) => b.build - a.build || (a.chip < b.chip ? -1 : 1));
}
