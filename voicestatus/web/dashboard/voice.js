/**
 * Who is in which voice channel: what REST said, and what happened since. Pure.
 *
 * The baseline is the `voiceChannels` of an activity. `live` maps a channel's id to its
 * list; a channel that is not in it stands as the baseline has it. All values are frozen
 * in spirit: every function returns new ones.
 *
 * @typedef {{userId: string, displayName: string, avatarUrl: string | null, selfMute?: boolean,
 *   selfDeaf?: boolean, streaming?: boolean, video?: boolean, suppressed?: boolean, bot?: boolean,
 *   speaking?: boolean}} Member
 * @typedef {{id: string, name: string, type: "voice" | "stage", members: Member[]}} Channel
 * @typedef {{guildId: string, channelId: string | null, channelName: string | null,
 *   channelType: "voice" | "stage", userId: string, displayName: string, avatarUrl: string | null,
 *   action: "join" | "leave" | "move", previousChannelId?: string | null}} VoiceStateEvent
 * @typedef {Member & {guildId: string, channelId: string}} VoiceMarks
 * @typedef {Readonly<Record<string, Channel>>} Live
 */

/** Nothing has happened since the baseline. @type {Live} */
export const NOTHING = Object.freeze({});

const NO_MARKS = {
  selfMute: false,
  selfDeaf: false,
  streaming: false,
  video: false,
  suppressed: false,
  bot: false,
  speaking: false,
};

/**
 * Show what is known now: the baseline's channels in their order, then those that only
 * the stream has named.
 * @param {Channel[]} baseline
 * @param {Live} live
 * @returns {Channel[]}
 */
export function merged(baseline, live) {
  const known = new Set(baseline.map((channel) => channel.id));
  const shown = baseline.map((channel) =>
    live[channel.id] ? {...channel, members: live[channel.id].members} : channel,
  );
  return [...shown, ...Object.values(live).filter((channel) => !known.has(channel.id))];
}

/**
 * Take one event in. A channel that it touches for the first time is seeded from the
 * baseline; from then on the live list is what counts for it.
 * @param {Live} live
 * @param {Channel[]} baseline
 * @param {VoiceStateEvent} event
 * @returns {Live}
 */
export function applyEvent(live, baseline, event) {
  const {userId, channelId} = event;
  const now = merged(baseline, live);
  const before = now.flatMap((channel) => channel.members).find((member) => member.userId === userId);
  const next = {...live};
  // Nobody is in two channels: whatever the action, they are where it says and nowhere else.
  for (const channel of now) {
    if (channel.id !== channelId && channel.members.some((member) => member.userId === userId)) {
      next[channel.id] = {...channel, members: without(channel.members, userId)};
    }
  }
  if (event.action === "leave" || channelId === null) return next;
  const channel = now.find((each) => each.id === channelId) ?? {
    id: channelId,
    name: event.channelName ?? "",
    type: event.channelType,
    members: [],
  };
  const member = {
    ...NO_MARKS,
    ...before,
    userId,
    displayName: event.displayName,
    avatarUrl: event.avatarUrl,
  };
  const stays = channel.members.some((each) => each.userId === userId);
  if (!stays) Object.assign(member, {suppressed: false, speaking: false});
  const members = stays
    ? channel.members.map((each) => (each.userId === userId ? member : each))
    : [...channel.members, member];
  next[channelId] = {...channel, members};
  return next;
}

/**
 * Take the whole picture in: it replaces what is known of every channel.
 * @param {Channel[]} baseline
 * @param {Channel[]} snapshot
 * @returns {Live}
 */
export function applySnapshot(baseline, snapshot) {
  const gone = baseline.map((channel) => [channel.id, {...channel, members: []}]);
  const there = snapshot.map((channel) => [channel.id, channel]);
  return Object.fromEntries([...gone, ...there]);
}

/**
 * Take in how somebody is: muted, streaming, with another name. Where they are, they stay.
 * @param {Live} live
 * @param {Channel[]} baseline
 * @param {VoiceMarks} told
 * @returns {Live}
 */
export function applyMarks(live, baseline, {guildId: _, channelId, speaking: __, ...marks}) {
  return renewed(live, baseline, ({userId}, {id}) => userId === marks.userId && id === channelId, marks);
}

/**
 * Mark who speaks, where they are.
 * @param {Live} live
 * @param {Channel[]} baseline
 * @param {string} userId
 * @param {boolean} speaking
 * @returns {Live}
 */
export function applySpeaking(live, baseline, userId, speaking) {
  const isNews = (member) => member.userId === userId && Boolean(member.speaking) !== speaking;
  return renewed(live, baseline, isNews, {speaking});
}

/** @typedef {{kind: "event" | "snapshot" | "marks" | "speaking", at: number, told: any}} Heard */

/**
 * Take in anything that the stream says.
 * @param {Live} live
 * @param {Channel[]} baseline
 * @param {Heard} heard
 * @returns {Live}
 */
export function apply(live, baseline, {kind, told}) {
  switch (kind) {
    case "snapshot":
      return applySnapshot(baseline, told.voiceChannels);
    case "marks":
      return applyMarks(live, baseline, told);
    case "speaking":
      return applySpeaking(live, baseline, told.userId, told.speaking);
    default:
      return applyEvent(live, baseline, told);
  }
}

/**
 * Begin anew with a fresh baseline: what was live is dropped, but for what was heard
 * after the baseline was asked for. The server may have made its answer before that.
 * @param {Channel[]} baseline
 * @param {Heard[]} heard the newest last
 * @param {number} askedAt
 * @returns {{live: Live, heard: Heard[]}}
 */
export function refresh(baseline, heard, askedAt) {
  const kept = heard.filter((each) => each.at >= askedAt);
  return {live: kept.reduce((live, each) => apply(live, baseline, each), NOTHING), heard: kept};
}

/** Put a channel's people in the order in which they are shown: by name, bots last. */
export function inOrder(members) {
  return [...members].sort(
    (a, b) =>
      Number(Boolean(a.bot)) - Number(Boolean(b.bot)) ||
      a.displayName.localeCompare(b.displayName, "en") ||
      (a.userId < b.userId ? -1 : 1),
  );
}

/** Put news to those who are meant; a channel that they are in is live from then on. */
function renewed(live, baseline, isMeant, news) {
  const channel = merged(baseline, live).find((each) => each.members.some((member) => isMeant(member, each)));
  if (!channel) return live;
  const members = channel.members.map((member) => (isMeant(member, channel) ? {...member, ...news} : member));
  return {...live, [channel.id]: {...channel, members}};
}

function without(members, userId) {
  return members.filter((member) => member.userId !== userId);
}
