/** Who is in voice, live: the stream of a guild merged with what REST said. */

import {useEffect, useMemo, useState} from "./vendor/preact.js";
import {address} from "./api.js";
import {NOTHING, apply, merged, refresh} from "./voice.js";

/** @typedef {"known" | "stale" | "unknown"} Sight how far the picture can be trusted */

const AGAIN_MS = [1000, 3000, 10_000, 30_000];
const KEPT = 500;

/**
 * Follow a guild's voice channels.
 *
 * @param {string | null} guildId
 * @param {import("./voice.js").Channel[]} baseline the `voiceChannels` of an activity
 * @param {number} [askedAt] when the baseline was asked for (`performance.now()`); events that
 *   were heard since then outlive it. Without it none does.
 * @returns {{channels: import("./voice.js").Channel[], status: "connecting" | "live" | "lost",
 *   sight: Sight | null}}
 */
export function useDiscordVoiceStream(guildId, baseline, askedAt = Infinity) {
  const [state, setState] = useState({guildId, baseline, live: NOTHING, heard: []});
  const [status, setStatus] = useState("connecting");
  const [sight, setSight] = useState(null);

  // REST was read again, or another guild is looked at: compared here and not in an
  // effect, so that what is stale is never shown.
  let now = state;
  if (state.guildId !== guildId) {
    now = {guildId, baseline, live: NOTHING, heard: []};
  } else if (state.baseline !== baseline) {
    now = {guildId, baseline, ...refresh(baseline, state.heard, askedAt)};
  }
  if (now !== state) setState(now);

  useEffect(() => {
    if (guildId === null) return undefined;
    setStatus("connecting");
    setSight(null);
    return follow(address(`/discord/${guildId}/voice-stream`), setStatus, (kind, told) => {
      if (told.state) setSight(told.state);
      if (kind === "state") return;
      const heard = {kind, told, at: performance.now()};
      setState((was) => ({
        ...was,
        live: apply(was.live, was.baseline, heard),
        heard: [...was.heard.slice(-KEPT), heard],
      }));
    });
  }, [guildId]);

  const channels = useMemo(() => merged(now.baseline, now.live), [now.baseline, now.live]);
  return {channels, status, sight};
}

/** Keep a stream open; returns what closes it. */
function follow(url, tellStatus, tell) {
  let source, timer, tries;
  const open = () => {
    source = new EventSource(url);
    source.onopen = () => {
      tries = 0;
      tellStatus("live");
    };
    source.onmessage = (event) => tell("event", JSON.parse(event.data));
    for (const kind of ["snapshot", "state", "marks", "speaking"]) {
      source.addEventListener(kind, (event) => tell(kind, JSON.parse(event.data)));
    }
    source.onerror = () => {
      tellStatus("lost");
      // The browser comes back by itself, but not after an answer that was no stream.
      if (source.readyState !== EventSource.CLOSED) return;
      timer = setTimeout(open, AGAIN_MS[Math.min(tries, AGAIN_MS.length - 1)]);
      tries += 1;
    };
  };
  tries = 0;
  open();
  return () => {
    clearTimeout(timer);
    source.close();
  };
}
