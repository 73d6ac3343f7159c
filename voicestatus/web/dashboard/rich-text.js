/** What somebody wrote, cut into text and links. Pure; nothing of it is taken for markup. */

const URLS = /https?:\/\/[^\s<>"]+/g;
const TRAILING = /[.,;:!?'*_~|]+$/;

/**
 * @param {string} text
 * @returns {{text: string, href?: string}[]}
 */
export function parts(text) {
  const found = [];
  let end = 0;
  for (const match of text.matchAll(URLS)) {
    const shown = trimmed(match[0]);
    const href = safe(shown);
    if (href === null) continue;
    if (match.index > end) found.push({text: text.slice(end, match.index)});
    found.push({text: shown, href});
    end = match.index + shown.length;
  }
  if (end < text.length) found.push({text: text.slice(end)});
  return found;
}

/** Leave out what ends a sentence, and a bracket that was opened before the link. */
function trimmed(url) {
  let shown = url.replace(TRAILING, "");
  while (shown.endsWith(")") && shown.split(")").length > shown.split("(").length) {
    shown = shown.slice(0, -1).replace(TRAILING, "");
  }
  return shown;
}

function safe(url) {
  try {
    return new URL(url).href;
  } catch {
    return null;
  }
}
