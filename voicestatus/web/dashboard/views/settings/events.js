/** What happens in Discord by events, and how attendance is taken. */

import {html} from "../../vendor/preact.js";
import {Input, Section, Select, Switch} from "../../ui.js";
import {ChannelSelect} from "./channels.js";

const MODES = [
  {value: "off", label: "Off: nothing is recorded"},
  {value: "track", label: "Track: record, and let a manager confirm"},
  {value: "auto", label: "Automatic: who was there long enough attended"},
];

/** @param {{form: any, channels: any[] | undefined}} props */
export function Events({form, channels}) {
  const {value, set, wrong} = form;
  const number = (key, label, unit, most, hint) => html`<${Input}
    label=${`${label} (${unit})`} type="number" inputmode="numeric" min="0" max=${most} step="1" hint=${hint}
    value=${value(key) ?? ""} error=${wrong[key]}
    onInput=${(text) => set(key, text === "" ? null : Number(text))}
  />`;
  const toggle = (key, label, hint) => html`<${Switch}
    label=${label} hint=${hint} checked=${value(key)} onChange=${(on) => set(key, on)}
  />`;
  const recorded = value("voiceAttendanceMode") !== "off";
  return html`
    <${Section} title="Events" sub="What the bot does in Discord when an event is published, unless the event says otherwise.">
      ${toggle("discordEventsEnabled", "Announce and schedule in Discord", "Off: no event does anything in Discord by itself.")}
      <div class="two">
        <${ChannelSelect}
          label="Announcement channel" name="discordAnnouncementChannelId" kinds=${["text", "announcement"]}
          none="None" ...${form} channels=${channels}
        />
        <${ChannelSelect}
          label="Voice channel" name="discordVoiceChannelId" kinds=${["voice", "stage"]}
          none="None" hint="Where events take place." ...${form} channels=${channels}
        />
      </div>
      ${toggle("eventAutoStart", "Start by itself")}
      ${value("eventAutoStart") && number("eventStartDelayMinutes", "Later than planned by", "minutes", 1440)}
      ${toggle("eventAutoComplete", "End by itself")}
      ${value("eventAutoComplete") && number("eventCompleteDelayMinutes", "After its planned end by", "minutes", 1440)}
    <//>
    <${Section} title="Attendance" sub="While an event goes on, how long people are in its voice channel. Nothing is recorded at any other time.">
      <${Select}
        label="Attendance" options=${MODES} value=${value("voiceAttendanceMode")}
        error=${wrong.voiceAttendanceMode} onChange=${(mode) => set("voiceAttendanceMode", mode)}
      />
      ${recorded && html`<div class="two">
        ${number("voiceAttendanceMinMinutes", "At least", "minutes", 1440)}
        ${number("voiceAttendanceMinPercent", "And at least", "% of the event", 100)}
      </div>
      ${number("attendanceRetentionDays", "Forget what nobody confirmed after", "days", 365)}`}
    <//>
  `;
}
