import assert from "node:assert/strict";
import {test} from "node:test";
import {NOTHING, fold, waitMs} from "../../voicestatus/web/dashboard/live-state.js";
import {LiveChannel} from "../../voicestatus/web/dashboard/live.js";

const guild = (id, people) => ({id, name: `Guild ${id}`, people, channels: []});
const page = (ids, more, rest = {}) => ({
  type: "snapshot",
  devices: ids.map((id) => ({id})),
  more,
  ...rest,
});
const first = {presence: {ready: true, guilds: [guild("1", 2)]}, releases: [{id: "r"}], rollouts: []};
const ids = (live) => [...live.devices.keys()];

test("a snapshot in pages is whole with its last one", () => {
  const half = fold(NOTHING, [page(["a"], true, first)]);
  assert.equal(half.whole, false);
  const all = fold(half, [page(["b"], false)]);
  assert.equal(all.whole, true);
  assert.deepEqual(ids(all), ["a", "b"]);
  assert.equal(all.guilds.get("1").people, 2);
  assert.equal(all.ready, true);
});

test("a new snapshot drops the devices that it does not tell, and no sooner than at its end", () => {
  const before = fold(NOTHING, [page(["a", "b", "c"], false, first)]);
  const half = fold(before, [page(["a"], true, first), {type: "device", device: {id: "d"}}]);
  assert.deepEqual(ids(half), ["a", "b", "c", "d"]);
  assert.deepEqual(ids(fold(half, [page(["b"], false)])), ["a", "b", "d"]);
  const running = fold(before, [{type: "rollout", rollout: {id: "x"}}]);
  assert.equal(fold(running, [page(["a"], true, first)]).rollouts.size, 0, "it has ended meanwhile");
});

test("a change touches what it is about, and the picture before stays as it was", () => {
  const before = fold(NOTHING, [page(["a", "b"], false, first)]);
  const after = fold(before, [
    {type: "device", device: {id: "a", connected: true}},
    {type: "device", id: "b", gone: true},
    {type: "presence", ready: true, guild: guild("1", 1)},
    {type: "rollout", rollout: {id: "x", stage: 1}},
    {type: "release", id: "r", gone: true},
  ]);
  assert.deepEqual([...after.devices.values()], [{id: "a", connected: true}]);
  assert.equal(after.guilds.get("1").people, 1);
  assert.deepEqual([after.rollouts.size, after.releases.size], [1, 0]);
  assert.deepEqual(ids(before), ["a", "b"]);
  assert.equal(before.guilds.get("1").people, 2);
});

test("what says nothing new leaves the very same picture", () => {
  const before = fold(NOTHING, [page([], false, first)]);
  const told = [{type: "result", id: "1", ok: true}, {type: "presence", ready: true}];
  assert.equal(fold(before, told), before);
  assert.equal(fold(before, [{type: "device", id: "nobody", gone: true}]), before);
});

test("each failure waits longer, never beyond half a minute, and never all alike", () => {
  assert.deepEqual([1, 2, 3].map((n) => waitMs(n, () => 1)), [500, 1000, 2000]);
  assert.equal(waitMs(40, () => 1), 30_000);
  assert.equal(waitMs(40, () => 0), 15_000);
});

/** A channel whose sockets and timers are in our hands. */
function world() {
  const sockets = [];
  const timers = new Map();
  let made = 0;
  const channel = new LiveChannel({
    dial: () => {
      const socket = {closed: false, close: () => (socket.closed = true)};
      sockets.push(socket);
      return socket;
    },
    later: (call, ms) => (timers.set(++made, {call, ms}), made),
    cancel: (timer) => timers.delete(timer),
    random: () => 1,
    wall: () => 7,
  });
  const tell = (message) => sockets.at(-1).onmessage({data: JSON.stringify(message)});
  const fire = () => {
    const [[timer, {call, ms}]] = timers;
    timers.delete(timer);
    call();
    return ms;
  };
  return {channel, sockets, timers, tell, fire};
}

test("a lost link keeps the picture, dials again, and is live when the snapshot is whole", () => {
  const {channel, sockets, timers, tell, fire} = world();
  let told = 0;
  channel.follow(() => told++);
  tell(page(["a"], false, first));
  tell({type: "device", device: {id: "b"}});
  fire();
  assert.equal(told, 1, "many messages are shown at once");
  assert.equal(channel.now.link, "live");
  sockets[0].onclose({code: 1006});
  assert.deepEqual([channel.now.link, channel.now.lostAt], ["lost", 7]);
  assert.deepEqual(ids(channel.now.live), ["a", "b"]);
  assert.equal(fire(), 500);
  tell(page(["a"], true, first));
  fire();
  assert.equal(channel.now.link, "lost");
  tell(page([], false));
  fire();
  assert.deepEqual([channel.now.link, channel.now.lostAt], ["live", 0]);
  assert.deepEqual(ids(channel.now.live), ["a"]);
  assert.equal(timers.size, 0);
});

test("who is refused does not dial by itself, and does when asked to", () => {
  const {channel, sockets, timers} = world();
  const leave = channel.follow(() => {});
  sockets[0].onclose({code: 1008});
  assert.equal(channel.now.link, "refused");
  assert.equal(timers.size, 0);
  channel.now.again();
  assert.equal(sockets.length, 2);
  assert.equal(channel.now.link, "connecting");
  sockets[1].onclose({code: 1008});
  leave();
  channel.follow(() => {});
  assert.equal(sockets.length, 3, "who comes anew may have signed in");
});

test("the connection outlasts a change of views, and ends when nobody follows", () => {
  const {channel, sockets, timers, fire} = world();
  channel.follow(() => {})();
  const leave = channel.follow(() => {});
  assert.deepEqual([sockets.length, timers.size], [1, 0]);
  leave();
  fire();
  assert.equal(sockets[0].closed, true);
});
