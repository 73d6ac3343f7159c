/** Which release goes onto the chip, and the button of esp-web-tools that puts it there. */

import {html, useEffect, useMemo, useState} from "../../vendor/preact.js";
import {address} from "../../api.js";
import {Badge, Button, Callout, Empty, Select, Table} from "../../ui.js";
import {count} from "../../words.js";

const WHY = {
  APP_ALONE: "no boot loader came with it",
  NOT_TRUSTED: "its key may not sign any more",
};

/** @param {{builds: any[], usb: boolean}} props */
export function Firmware({builds, usb}) {
  const fit = useMemo(() => builds.filter((build) => build.obstacle === null), [builds]);
  const others = builds.filter((build) => build.obstacle !== null);
  const [chosen, choose] = useState(null);
  const build = fit.find((each) => each.release === chosen) ?? best(fit);
  if (builds.length === 0) return html`<${NoFirmware} />`;
  return html`<div class="stack">
    ${build
      ? html`<${Choice} ...${{fit, build, choose, usb}} />`
      : html`<${Callout} title="None of the releases can be put on a chip from here">
          <p>What they lack stands below.</p>
        <//>`}
    ${others.length > 0 && html`<${Others} builds=${others} />`}
  </div>`;
}

function NoFirmware() {
  return html`<${Empty}
    icon="chip" title="There is no firmware yet"
    action=${html`<${Button} href="/firmware">To the releases<//>`}
  >Publish a signed release, and for an ESP32 what <code>esptool merge-bin</code> made of it: it can then be
    flashed from here.<//>`;
}

function Choice({fit, build, choose, usb}) {
  const options = fit.map((each) => ({
    value: each.release,
    label: `${each.version} · build ${each.build}${each.board && ` · ${each.board}`}${each.channel === "beta" ? " · beta" : ""}`,
    group: each.family,
  }));
  const facts = [build.family, build.board || "any board", size(build.sizeBytes)];
  return html`
    <${Select} label="Release" options=${options} value=${build.release} onChange=${choose} hint=${facts.join(" · ")} />
    ${usb && html`<${InstallButton} key=${build.release} release=${build.release} />`}`;
}

function InstallButton({release}) {
  const [state, setState] = useState("loading");
  useEffect(() => {
    import("../../flasher/install-button.js").then(
      () => setState("ready"),
      () => setState("failed"),
    );
  }, []);
  if (state === "failed") {
    return html`<${Callout} tone="bad" title="The flasher did not load">
      <p>Reload the page; the server may have been updated.</p>
    <//>`;
  }
  const manifest = address(`/flash/manifest?release=${encodeURIComponent(release)}`);
  return html`<esp-web-install-button class="install" manifest=${manifest}>
    <button slot="activate" class="button primary" disabled=${state === "loading"}>Connect and install</button>
  </esp-web-install-button>`;
}

function Others({builds}) {
  return html`<details class="fold flash-others">
    <summary>${count(builds.length, "release")} not offered here</summary>
    <div class="stack tight">
      <p class="muted">
        A chip with nothing on it also needs a boot loader and a partition table. For an ESP32, S2, S3 or C3
        those come in the file that <code>esptool merge-bin</code> makes of a build: publish the same release
        again with it as <em>Whole flash</em>, <a href="/firmware">at the releases</a>, and it is offered here.
      </p>
      <${Table} label="Releases that are not offered here" head=${["Release", "Chip", "Why not"]}>
        ${builds.map((build) => html`<tr key=${build.release}>
          <td class="nowrap">${build.version} <span class="muted">build ${build.build}</span></td>
          <td class="nowrap">${build.family} ${build.board && html`<${Badge}>${build.board}<//>`}</td>
          <td>${WHY[build.obstacle]}</td>
        </tr>`)}
      <//>
    </div>
  </details>`;
}

/** The newest that is no beta. */
function best(builds) {
  return builds.find((build) => build.channel === "stable") ?? builds[0];
}

function size(bytes) {
  return `${Math.round(bytes / 1024).toLocaleString("en")} KB`;
}
