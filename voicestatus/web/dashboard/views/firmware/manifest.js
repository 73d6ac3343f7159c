/** What a browser can tell of a pair of files before they are sent. Pure. */

export const MANIFEST_BYTES = 192;
/** Source: docs/signing.md, "The manifest". */
const KEY_AT = 8;
const KEY_BYTES = 4;

/**
 * @param {string} base64 a release's manifest
 * @returns {string} the key that signed it, as `voicestatus inspect` calls it
 */
export function signedBy(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const key = bytes.slice(KEY_AT, KEY_AT + KEY_BYTES);
  return [...key].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Tell image and manifest apart: by name, and by a manifest's size.
 * @param {{name: string, size: number}[]} files in the order in which they were chosen
 * @param {{image: ?object, manifest: ?object}} before
 * @returns {{image: ?object, manifest: ?object}} the later one of a kind stays
 */
export function sorted(files, before) {
  const pair = {...before};
  for (const file of files) pair[isManifest(file) ? "manifest" : "image"] = file;
  return pair;
}

/**
 * @param {{image: ?object, manifest: ?object}} pair
 * @returns {string} why it cannot be right, or nothing
 */
export function oddPair({image, manifest}) {
  if (manifest && manifest.size !== MANIFEST_BYTES) {
    return `${manifest.name} has ${manifest.size} bytes; a manifest has ${MANIFEST_BYTES}.`;
  }
  if (image && manifest && manifest.name.endsWith(".manifest") && manifest.name !== `${image.name}.manifest`) {
    return `${manifest.name} is not named as if it were for ${image.name}.`;
  }
  return "";
}

function isManifest({name, size}) {
  return name.endsWith(".manifest") || size === MANIFEST_BYTES;
}
