/** What the ids in a rule are called, and what there is to choose from. */

import {useEffect, useMemo, useState} from "../../vendor/preact.js";
import {get} from "../../api.js";

const CATEGORY = 4;
const VOICE = new Set([2, 13]);
const MOST_GUILDS = 12;
const MOST_CHANNELS = 25;

/**
 * @typedef {Record<"guilds" | "categories" | "channels" | "users" | "roles",
 *   import("../fleet/picker.js").Option[]>} Directory
 */

/**
 * Make a directory of what the live channel tells, and of what was asked for besides.
 * @param {Iterable<object>} guilds
 * @param {Map<string, {roles: object[], people: object[]}>} more by guild
 * @returns {Directory}
 */
export function directoryOf(guilds, more) {
  const directory = {guilds: [], categories: [], channels: [], users: [], roles: []};
  const people = new Map();
  for (const {id, name, channels} of guilds) {
    const group = name || id;
    const names = new Map(channels.map((channel) => [channel.id, channel.name]));
    directory.guilds.push({id, label: group});
    for (const channel of channels) {
      const option = {id: channel.id, label: channel.name, group};
      if (channel.type === CATEGORY) directory.categories.push(option);
      else if (VOICE.has(channel.type)) {
        directory.channels.push({...option, detail: names.get(channel.parentId)});
      }
    }
    const {roles = [], people: seen = []} = more.get(id) ?? {};
    for (const role of roles) directory.roles.push({id: role.id, label: role.name, group});
    directory.roles.push({id, label: "@everyone", group});
    for (const {userId, displayName} of seen) {
      people.set(userId, {id: userId, label: displayName, detail: "in voice now"});
    }
  }
  directory.users.push(...people.values());
  return directory;
}

/**
 * @param {Directory} directory
 * @returns {(kind: string, id: string) => string} the id itself, if it is not known
 */
export function namesOf(directory) {
  const names = new Map(
    Object.entries(directory).map(([kind, options]) => [
      kind,
      new Map(options.map(({id, label}) => [id, label])),
    ]),
  );
  return (kind, id) => names.get(kind)?.get(id) ?? id;
}

/**
 * @param {Map<string, object>} guilds of the live channel
 * @param {boolean} whole with roles and people, where the server tells of them
 * @returns {Directory}
 */
export function useDirectory(guilds, whole) {
  const [more, setMore] = useState(new Map());
  const ids = whole ? [...guilds.keys()].slice(0, MOST_GUILDS).join(" ") : "";
  useEffect(() => {
    let wanted = true;
    for (const id of ids.split(" ").filter(Boolean)) {
      ask(guilds.get(id)).then((told) => wanted && setMore((before) => new Map(before).set(id, told)));
    }
    return () => {
      wanted = false;
    };
  }, [ids]);
  return useMemo(() => directoryOf(guilds.values(), more), [guilds, more]);
}

/** Without them ids are typed: a rule can be written all the same. */
async function ask({id, channels}) {
  // Of these channels alone: for all of them Discord would be asked what was written.
  const voice = channels.filter(({type}) => VOICE.has(type)).slice(0, MOST_CHANNELS);
  const query = voice.map((channel) => channel.id).join(",");
  const [roles, activity] = await Promise.all([
    get(`/discord/${id}/roles`).catch(() => []),
    query ? get(`/discord/${id}/activity?channelIds=${query}`).catch(() => ({})) : {},
  ]);
  return {roles, people: (activity.voiceChannels ?? []).flatMap(({members}) => members)};
}
