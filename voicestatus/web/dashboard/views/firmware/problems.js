/** What the server says no to, and what to do then. Pure. */

const PROBLEMS = {
  NO_SIGNING_KEYS: {
    title: "The server knows no signing key",
    todo: "Make a key pair on a machine of your own, and give the server the public key. Then start it again.",
    run: ["voicestatus keygen --out keys", "OTA_PUBLIC_KEYS=$(cat keys/release.pub)"],
  },
  PUBLIC_URL_MISSING: {
    title: "Old signs need the server's whole address",
    todo: "Set PUBLIC_URL to the address at which signs reach the server, and start it again.",
    run: ["PUBLIC_URL=http://192.0.2.1:8080"],
  },
  BUILD_EXISTS: {
    title: "This build is published already",
    todo: "Another image or manifest has the same build number for this chip. Give this one a higher --build, sign it again, and upload both.",
  },
  RELEASE_IN_USE: {
    title: "A rollout still needs this release",
    todo: "Abort the rollout, or wait for its end; then delete the release.",
  },
  RELEASE_NOT_FOUND: {
    title: "The release is gone",
    todo: "Somebody has deleted it meanwhile. Choose another one.",
  },
  ROLLOUT_OVER: {
    title: "The rollout is over",
    todo: "Nothing more can be said to it. Start a new one.",
  },
  ROLLOUT_NOT_FOUND: {
    title: "The rollout is not there any more",
    todo: "The newest hundred that have ended are kept.",
  },
  TOO_MANY_UPLOADS: {
    title: "Others are uploading, too",
    todo: "Four uploads may come at a time. Try again in a moment.",
  },
  UPLOAD_TOO_SLOW: {
    title: "The upload took longer than ten minutes",
    todo: "Try again on a better link, or publish from a machine nearer to the server.",
  },
  PAYLOAD_TOO_LARGE: {
    title: "The image is too large",
    todo: "At most 16 MiB are taken. Take the program alone, the build's firmware.bin.",
  },
  NODE_UNREACHABLE: {
    title: "No node conducts rollouts just now",
    todo: "Nothing was done. Another node takes over within seconds; try again.",
  },
  FATE_UNKNOWN: {
    title: "It may have been done, or not",
    todo: "Look at the list before you repeat it.",
  },
  STORE_UNAVAILABLE: {
    title: "The store does not answer",
    todo: "It may have been done all the same: look before you repeat it.",
  },
};

/** By `details.reason` of IMAGE_REFUSED and MANIFEST_REFUSED; docs/signing.md has them all. */
const REASONS = {
  IMAGE_EMPTY: "Look at the build: the file has no bytes.",
  IMAGE_TRUNCATED: "Copy or download the file again.",
  IMAGE_TRAILING: "Something follows the program. Cut it out: voicestatus inspect FILE --extract-app APP",
  IMAGE_MERGED: "Take the build's firmware.bin, or cut the program out: voicestatus inspect FILE --extract-app APP",
  IMAGE_NOT_APP: "Take the build's firmware.bin.",
  IMAGE_HEADER: "Build it anew.",
  IMAGE_SEGMENT: "Build it anew.",
  IMAGE_CHECKSUM: "The file is damaged: copy or download it again.",
  IMAGE_DIGEST: "The file is damaged: copy or download it again.",
  IMAGE_LINKER_FILE: "Take the .bin of the build.",
  IMAGE_COMPRESSED: "Unpack it first.",
  IMAGE_FILESYSTEM: "Take the program, not its file system.",
  IMAGE_WEB_PAGE: "Download it again: this is a web page, often an error that was saved as a file.",
  IMAGE_UNKNOWN: "Take the build's firmware.bin.",
  MANIFEST_SIZE: "Take the .manifest that voicestatus sign wrote: it has 192 bytes.",
  MANIFEST_KEY: "Add the public key to OTA_PUBLIC_KEYS and start the server again, or sign with a key that it knows.",
  MANIFEST_SIGNATURE: "Sign the image again: the manifest was altered, or was signed by another key than it names.",
  MANIFEST_FORMAT: "Sign the image again with voicestatus sign.",
  MANIFEST_BUILD: "Sign the image again: --floor and --min-build must not be above the build.",
  MANIFEST_IMAGE: "Image and manifest do not belong together: choose the pair, or sign this image.",
};

/**
 * @param {{code?: string, message: string, details?: object}} error
 * @returns {{title: string, words: string, todo: string, run: string[], code: string}}
 */
export function problemOf(error) {
  const {code = "", message, details = {}} = error;
  if (code === "IMAGE_REFUSED" || code === "MANIFEST_REFUSED") {
    const what = code === "IMAGE_REFUSED" ? "image" : "manifest";
    const todo = REASONS[details.reason] ?? "";
    return {title: `The ${what} was refused`, words: message, todo, run: [], code: details.reason ?? code};
  }
  const {title = "That did not work", todo = "", run = []} = PROBLEMS[code] ?? {};
  return {title, words: message, todo, run, code};
}
