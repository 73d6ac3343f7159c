/** Changes of settings that are not saved yet. Pure. */

/** Tell whether two values of JSON are the same. */
export function same(a, b) {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  const [ours, theirs] = [Object.keys(a), Object.keys(b)];
  return (
    Array.isArray(a) === Array.isArray(b) &&
    ours.length === theirs.length &&
    ours.every((key) => Object.hasOwn(b, key) && same(a[key], b[key]))
  );
}

/**
 * Note a change; what is as it was before is no change.
 * @param {Record<string, any>} draft
 * @param {Record<string, any>} saved
 */
export function changed(draft, saved, key, value) {
  const {[key]: _, ...others} = draft;
  return same(saved[key], value) ? others : {...others, [key]: value};
}

/** Move an entry of a list up or down; beyond its ends nothing moves. */
export function moved(list, from, to) {
  if (to < 0 || to >= list.length) return list;
  const next = [...list];
  next.splice(to, 0, ...next.splice(from, 1));
  return next;
}

/**
 * Read ranks from rows: those that are whole, and what is wrong with the others.
 * @param {{rank: string, role: string}[]} rows
 * @returns {{value: Record<string, string>, wrong: Record<number, string>}}
 */
export function ranksOf(rows) {
  const value = {};
  const wrong = {};
  rows.forEach(({rank, role}, i) => {
    const name = rank.trim();
    if (!name && !role) return;
    if (!name) wrong[i] = "Name the rank.";
    else if (Object.hasOwn(value, name)) wrong[i] = "This rank is there already.";
    else if (!role) wrong[i] = "Choose its role.";
    else value[name] = role;
  });
  return {value, wrong};
}
