/**
 * The API: JSON in and out, and what a session's writes have to show.
 *
 * `get` and `send` take paths below `/api/v1`, such as "/devices"; a path that begins
 * with "/auth" stays as it is.
 */

/** A refusal, or that the server was not reached (`code` "UNREACHABLE", status 0). */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {{code: string, message: string, details?: object, requestId?: string}} error
   * @param {number | null} retryAfterS
   */
  constructor(status, error, retryAfterS = null) {
    super(error.message);
    this.name = "ApiError";
    this.status = status;
    this.code = error.code;
    this.details = error.details ?? {};
    this.requestId = error.requestId ?? "";
    this.retryAfterS = this.details.retryAfterS ?? retryAfterS;
  }
}

let csrfToken = null;
let signedOut = () => {};

/** Say what shows that a write is this page's: the `csrfToken` of `/me`. */
export function setCsrf(token) {
  csrfToken = token;
}

/** Say whom to tell when a session turns out to have ended. */
export function onSignedOut(tell) {
  signedOut = tell;
}

/** The address of a path of the API. */
export function address(path) {
  return path.startsWith("/auth") ? path : `/api/v1${path}`;
}

/**
 * Read.
 * @param {string} path
 * @param {{signal?: AbortSignal}} options
 * @returns {Promise<any>}
 */
export function get(path, {signal} = {}) {
  return ask("GET", path, undefined, {signal});
}

/**
 * Write.
 * @param {"POST" | "PUT" | "PATCH" | "DELETE"} method
 * @param {string} path
 * @param {object} [body]
 * @param {{signal?: AbortSignal}} options
 * @returns {Promise<any>} what was answered; null for 204
 */
export function send(method, path, body, {signal} = {}) {
  return ask(method, path, body, {signal});
}

async function ask(method, path, body, {signal}) {
  const headers = {Accept: "application/json"};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET" && csrfToken) headers["X-CSRF-Token"] = csrfToken;
  let answer, text;
  try {
    answer = await fetch(address(path), {
      method,
      headers,
      signal,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
    });
    text = await answer.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw unreachable();
  }
  return read(path, answer.status, text, answer.headers.get("Retry-After"));
}

/**
 * Send a form with files, and tell how far it is.
 * @param {string} path
 * @param {FormData} form
 * @param {(sent: number, total: number) => void} onProgress
 * @param {{signal?: AbortSignal, method?: string}} options
 * @returns {Promise<any>}
 */
export function upload(path, form, onProgress = () => {}, {signal, method = "POST"} = {}) {
  return new Promise((resolve, reject) => {
    // fetch does not tell how much of a body is sent.
    const request = new XMLHttpRequest();
    request.open(method, address(path));
    request.setRequestHeader("Accept", "application/json");
    if (csrfToken) request.setRequestHeader("X-CSRF-Token", csrfToken);
    request.upload.onprogress = ({loaded, total}) => onProgress(loaded, total);
    request.onerror = () => reject(unreachable());
    request.onabort = () => reject(new DOMException("aborted", "AbortError"));
    request.onload = () => {
      const retry = request.getResponseHeader("Retry-After");
      try {
        resolve(read(path, request.status, request.responseText, retry));
      } catch (error) {
        reject(error);
      }
    };
    signal?.addEventListener("abort", () => request.abort(), {once: true});
    request.send(form);
  });
}

function read(path, status, text, retryAfter) {
  let answer = null;
  try {
    answer = text ? JSON.parse(text) : null;
  } catch {
    // A proxy's page: told below by its status.
  }
  if (status >= 200 && status < 300) return answer;
  if (status === 401 && !path.startsWith("/auth")) signedOut();
  const error = answer?.error ?? {
    code: "UNEXPECTED",
    message: `The server answered ${status}.`,
  };
  throw new ApiError(status, error, retryAfter ? Number(retryAfter) : null);
}

function unreachable() {
  return new ApiError(0, {
    code: "UNREACHABLE",
    message: "The server cannot be reached.",
  });
}
