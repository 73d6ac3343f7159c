import assert from "node:assert/strict";
import {test} from "node:test";

import {
  NOTHING, apply, applyEvent, applyMarks, applySnapshot, applySpeaking, inOrder, merged, refresh,
} from "../../voicestatus/web/dashboard/voice.js";

const person = (userId, more = {}) => ({userId, displayName: `Name ${userId}`, avatarUrl: null, ...more});
const channel = (id, ...members) => ({id, name: `Channel ${id}`, type: "voice", members});
const event = (action, userId, channelId, previousChannelId = null) => ({
  guildId: "1",
  channelId,
  channelName: channelId && `Channel ${channelId}`,
  channelType: "voice",
  userId,
  displayName: `Name ${userId}`,
  avatarUrl: null,
  action,
  previousChannelId,
});
const who = (channels) =>
  Object.fromEntries(channels.map(({id, members}) => [id, members.map(({userId}) => userId).sort()]));
const how = (channels) =>
  channels.map(({id, members}) => [id, members.map(({userId, selfMute, suppressed}) => [userId, selfMute, suppressed]).sort()]);
const after = (baseline, ...events) => {
  const live = events.reduce((live, each) => applyEvent(live, baseline, each), NOTHING);
  return merged(baseline, live);
};

test("without an event the baseline is shown as it is", () => {
  const baseline = [channel("a", person("1")), channel("b")];
  assert.deepEqual(merged(baseline, NOTHING), baseline);
});

test("a channel's first event is applied to what REST said of it", () => {
  const shown = after([channel("a", person("1"), person("2"))], event("join", "3", "a"));
  assert.deepEqual(who(shown), {a: ["1", "2", "3"]});
});

test("from its first event on the live list counts, whatever the baseline holds", () => {
  const live = applyEvent(NOTHING, [channel("a", person("1"))], event("leave", "1", null, "a"));
  assert.deepEqual(who(merged([channel("a", person("1"), person("9"))], live)), {a: []});
});

test("a channel without an event stays as REST said", () => {
  const live = applyEvent(NOTHING, [channel("a"), channel("b")], event("join", "1", "a"));
  assert.deepEqual(who(merged([channel("a"), channel("b", person("2"))], live)), {a: ["1"], b: ["2"]});
});

test("a move takes the person out of every other channel", () => {
  const baseline = [channel("a", person("1")), channel("b", person("1")), channel("c")];
  assert.deepEqual(who(after(baseline, event("move", "1", "c", "a"))), {a: [], b: [], c: ["1"]});
});

test("a leave without a previous channel takes the person out of where they are", () => {
  const shown = after([channel("a", person("1")), channel("b")], event("leave", "1", null));
  assert.deepEqual(who(shown), {a: [], b: []});
});

test("the same event twice changes nothing more", () => {
  const baseline = [channel("a"), channel("b")];
  const once = after(baseline, event("join", "1", "a"));
  assert.deepEqual(after(baseline, event("join", "1", "a"), event("join", "1", "a")), once);
});

test("who moves keeps what is known of them, but for what belongs to the place", () => {
  const muted = person("1", {selfMute: true, bot: true, speaking: true, suppressed: true});
  const [, there] = after([channel("a", muted), channel("b")], event("move", "1", "b", "a"));
  const {selfMute, bot, speaking, suppressed} = there.members[0];
  assert.deepEqual({selfMute, bot, speaking, suppressed}, {selfMute: true, bot: true, speaking: false, suppressed: false});
});

test("a channel that only the stream names comes after the others", () => {
  const shown = after([channel("a", person("1"))], event("move", "1", "new", "a"));
  assert.deepEqual(shown.map(({id, name}) => [id, name]), [["a", "Channel a"], ["new", "Channel new"]]);
  assert.deepEqual(who(shown), {a: [], new: ["1"]});
});

test("a snapshot replaces all, also channels that it does not name", () => {
  const baseline = [channel("a", person("1")), channel("gone", person("2"))];
  const live = applySnapshot(baseline, [channel("a", person("3"))]);
  assert.deepEqual(who(merged(baseline, live)), {a: ["3"], gone: []});
});

test("who speaks is marked where they are, and nobody else", () => {
  const baseline = [channel("a", person("1"), person("2"))];
  const live = applySpeaking(NOTHING, baseline, "2", true);
  assert.deepEqual(merged(baseline, live)[0].members.map(({speaking}) => speaking), [undefined, true]);
  assert.equal(applySpeaking(live, baseline, "2", true), live);
  assert.equal(applySpeaking(live, baseline, "nobody", true), live);
});

test("how somebody is changes where they are, and nothing that the stream does not know", () => {
  const baseline = [channel("a", person("1", {speaking: true}), person("2")), channel("b")];
  const told = {...person("1", {selfMute: true, speaking: null, displayName: "Ada"}), guildId: "1", channelId: "a"};
  const live = applyMarks(NOTHING, baseline, told);
  assert.deepEqual(merged(baseline, live)[0].members, [
    person("1", {selfMute: true, speaking: true, displayName: "Ada"}), person("2"),
  ]);
  for (const elsewhere of [{...told, channelId: "b"}, {...told, userId: "9"}]) {
    assert.equal(applyMarks(live, baseline, elsewhere), live);
  }
});

test("nothing that is given is changed", () => {
  const freeze = (value) => {
    Object.values(value).forEach((each) => typeof each === "object" && each && freeze(each));
    return Object.freeze(value);
  };
  const baseline = freeze([channel("a", person("1")), channel("b")]);
  const live = freeze(applyEvent(NOTHING, baseline, event("join", "2", "a")));
  applyEvent(live, baseline, event("move", "1", "b", "a"));
  applySpeaking(live, baseline, "1", true);
  applyMarks(live, baseline, freeze({...person("1"), guildId: "1", channelId: "a"}));
  assert.deepEqual(who(merged(baseline, live)), {a: ["1", "2"], b: []});
});

test("fresh data drops what was live", () => {
  const heard = [{kind: "event", at: 5, told: event("join", "1", "a")}];
  assert.deepEqual(refresh([channel("a")], heard, 6), {live: NOTHING, heard: []});
  assert.deepEqual(refresh([channel("a")], heard, Infinity), {live: NOTHING, heard: []});
});

test("what was heard while fresh data was on its way outlives it", () => {
  const heard = [{kind: "event", at: 5, told: event("join", "1", "a")}];
  const {live} = refresh([channel("a")], heard, 4);
  assert.deepEqual(who(merged([channel("a")], live)), {a: ["1"]});
});

test("people are shown by name, bots last, and always in the same order", () => {
  const members = [
    person("1", {displayName: "DJ", bot: true}), person("3", {displayName: "bea"}), person("2", {displayName: "bea"}),
    person("4", {displayName: "Ada"}),
  ];
  assert.deepEqual(inOrder(members).map(({userId}) => userId), ["4", "2", "3", "1"]);
});

/** A small generator of its own: the same seed, the same story. */
function randomOf(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/**
 * A server that changes, a stream with a delay and drops, and REST answers that take their
 * time: at rest what is shown is the truth.
 */
function story(seed) {
  const pick = randomOf(seed);
  const ids = ["a", "b", "c"];
  const truth = new Map(); // who is where, and how; "c" is a stage, where one comes into the audience
  const picture = () => ids.map((id) => channel(id, ...[...truth].filter(([, {at}]) => at === id).map(([user, {how}]) => person(user, how))));
  const log = []; // all events, in order
  let [read, connected, needsSnapshot] = [0, true, false];
  let [live, heard, baseline, now] = [NOTHING, [], picture(), 0];
  let request = null;

  const hear = (kind, told) => {
    const one = {kind, told, at: now};
    live = apply(live, baseline, one);
    heard.push(one);
  };
  const pump = (most) => {
    if (!connected) return;
    if (needsSnapshot) {
      // A snapshot tells all up to now; what was not heard before is in it.
      hear("snapshot", {voiceChannels: picture()});
      [needsSnapshot, read] = [false, log.length];
    }
    for (let n = 0; n < most && read < log.length; n += 1, read += 1) hear(...log[read]);
  };
  const change = () => {
    const user = String(pick(4));
    const {at: from, how: was} = truth.get(user) ?? {at: null, how: {selfMute: false}};
    const to = [null, ...ids][pick(4)];
    if (to === null) {
      if (from !== null) log.push(["event", event("leave", user, null, from)]);
      truth.delete(user);
      return;
    }
    const how = {selfMute: pick(2) === 0, suppressed: to === "c"};
    truth.set(user, {at: to, how});
    if (from !== to) log.push(["event", event(from === null ? "join" : "move", user, to, from)]);
    // As the server does: where the event does not say how they are.
    const taken = {selfMute: was.selfMute, suppressed: from === to && was.suppressed};
    if (how.selfMute !== taken.selfMute || how.suppressed !== taken.suppressed) {
      log.push(["marks", {...person(user, how), guildId: "1", channelId: to, speaking: null}]);
    }
  };
  const answer = () => {
    if (!request) return;
    baseline = request.made;
    ({live, heard} = refresh(baseline, heard, request.askedAt));
    request = null;
  };
  const steps = [
    change, change, change,
    () => pump(1 + pick(3)),
    () => { request ??= {askedAt: now, made: null}; },
    () => { if (request) request.made ??= picture(); },
    () => { if (request?.made) answer(); },
    () => { connected = false; },
    () => {
      if (connected) return;
      connected = true;
      needsSnapshot = pick(2) === 0; // else the ring had it all
    },
  ];
  for (let n = 0; n < 60; n += 1) {
    now += 1;
    steps[pick(steps.length)]();
    // Whatever happens, nobody is ever in two channels.
    const all = merged(baseline, live).flatMap(({members}) => members.map(({userId}) => userId));
    assert.equal(new Set(all).size, all.length, `seed ${seed}: somebody is twice`);
  }
  connected = true;
  pump(Infinity);
  assert.deepEqual(how(merged(baseline, live)), how(picture()), `seed ${seed}`);
}

test("at rest what is shown is the truth, however stream and REST interleave", () => {
  for (let seed = 1; seed <= 3000; seed += 1) story(seed);
});
