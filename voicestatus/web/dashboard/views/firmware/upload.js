/** Publishes a release: two files or three, and the server's verdict while they come. */

import {html, useRef, useState} from "../../vendor/preact.js";
import {upload} from "../../api.js";
import {useAction} from "../../hooks.js";
import {Button, Callout, Dialog, Field, Icon, Progress, Select, Textarea, classes} from "../../ui.js";
import {bytes} from "../fleet/sizes.js";
import {oddPair, sorted} from "./manifest.js";
import {LegacySwitch} from "./releases.js";
import {Trouble} from "./trouble.js";

/**
 * @param {{onClose: () => void, onRollOut: (release: string) => void}} props
 */
export function Upload({onClose, onRollOut}) {
  const [pair, setPair] = useState({image: null, manifest: null});
  const [flash, setFlash] = useState(null);
  const [channel, setChannel] = useState("stable");
  const [legacy, setLegacy] = useState(false);
  const [notes, setNotes] = useState("");
  const [sent, setSent] = useState(null);
  const [release, setRelease] = useState(null);
  const stop = useRef(null);
  const [publish, busy, error] = useAction(async () => {
    stop.current = new AbortController();
    const form = new FormData();
    // The manifest first: a key that is not known is said before the image is sent.
    form.append("manifest", pair.manifest, pair.manifest.name);
    form.append("channel", channel);
    form.append("legacy", String(legacy));
    form.append("notes", notes);
    form.append("image", pair.image, pair.image.name);
    if (flash) form.append("flash", flash, flash.name);
    const onProgress = (done, total) => setSent({done, total});
    try {
      setRelease(await upload("/firmware/releases", form, onProgress, {signal: stop.current.signal}));
    } catch (refusal) {
      if (refusal.name !== "AbortError") throw refusal;
    } finally {
      setSent(null);
    }
  });
  const leave = () => {
    stop.current?.abort();
    onClose();
  };
  if (release !== null) return html`<${Published} release=${release} onClose=${onClose} onRollOut=${onRollOut} />`;
  const odd = oddPair(pair);
  const whole = pair.image !== null && pair.manifest !== null;
  return html`<${Dialog} title="Upload a release" onClose=${leave} actions=${html`
    <${Button} kind="quiet" onClick=${leave}>Cancel<//>
    <${Button} kind="primary" icon="upload" busy=${busy} disabled=${!whole} onClick=${publish}>Publish<//>
  `}>
    <p class="muted">Nothing reaches a sign by this: a release is rolled out when you say so.</p>
    <${Drop} pair=${pair} onFiles=${(files) => setPair(sorted(files, pair))} disabled=${busy} />
    ${odd && html`<p class="odd"><${Icon} name="alert" size=${15} />${odd}</p>`}
    ${sent && html`<div class="sending">
      <${Progress} value=${sent.done} max=${sent.total} label="Upload" />
      <p class="muted small" role="status">${sent.done < sent.total
        ? `${bytes(sent.done)} of ${bytes(sent.total)}`
        : "All is sent. The server looks at it …"}</p>
    </div>`}
    ${error && html`<${Trouble} error=${error} />`}
    <${FlashFile} onFile=${setFlash} disabled=${busy} />
    <${Select} label="Channel" value=${channel} onChange=${setChannel} options=${[
      {value: "stable", label: "Stable"},
      {value: "beta", label: "Beta"},
    ]} />
    <${LegacySwitch} checked=${legacy} onChange=${setLegacy} />
    <${Textarea}
      label="Notes" optional value=${notes} onInput=${setNotes} rows="2" maxlength="1000"
      placeholder="Softer light at night"
    />
  <//>`;
}

function Drop({pair, onFiles, disabled}) {
  const [over, setOver] = useState(false);
  const drop = (event) => {
    event.preventDefault();
    setOver(false);
    onFiles([...event.dataTransfer.files]);
  };
  const drag = (event) => {
    event.preventDefault();
    setOver(true);
  };
  return html`<label
    class=${classes("drop", over && "over")} onDragOver=${drag} onDragLeave=${() => setOver(false)} onDrop=${drop}
  >
    <input type="file" multiple disabled=${disabled} aria-label="Image and manifest" class="drop-input"
      onChange=${(event) => onFiles([...event.currentTarget.files])} />
    <span class="drop-words"><${Icon} name="upload" size=${22} />
      <span><span class="strong">Choose the image and its manifest</span>, or drop them here</span></span>
    <${FileLine} label="Image" hint="firmware.bin" file=${pair.image} />
    <${FileLine} label="Manifest" hint="firmware.bin.manifest, from voicestatus sign" file=${pair.manifest} />
  </label>`;
}

function FlashFile({onFile, disabled}) {
  const hint = html`For an ESP32, S2, S3 or C3: with what <code>esptool merge-bin</code> made of this build,
    a blank chip can be flashed over USB from the browser.`;
  return html`<${Field} label="Whole flash" optional hint=${hint}>${(props) => html`<input
    type="file" class="flash-file" ...${props} disabled=${disabled}
    onChange=${(event) => onFile(event.currentTarget.files[0] ?? null)}
  />`}<//>`;
}

function FileLine({label, hint, file}) {
  return html`<span class=${classes("file-line", file && "there")}>
    <${Icon} name=${file ? "checkCircle" : "minus"} size=${17} />
    <span class="file-label">${label}</span>
    <span class=${file ? "file-name" : "muted small"}>${file ? file.name : hint}</span>
    ${file && html`<span class="muted small nowrap">${bytes(file.size)}</span>`}
  </span>`;
}

function Published({release, onClose, onRollOut}) {
  const next = () => {
    onClose();
    onRollOut(release.id);
  };
  return html`<${Dialog} title="It is published" onClose=${onClose} actions=${html`
    <${Button} kind="quiet" onClick=${onClose}>Later<//>
    <${Button} kind="primary" onClick=${next}>Roll it out<//>
  `}>
    <${Callout} tone="good" title=${`${release.version} (build ${release.build}) for ${release.chip}`}>
      <p>The image is whole, is for that chip, and its signature holds.</p>
    <//>
    <p class="muted">No sign has it yet.${release.flashable && html` <a href="/flash">A new one can be flashed
      with it</a> over USB.`}</p>
  <//>`;
}
