import assert from "node:assert/strict";
import {beforeEach, test} from "node:test";

import {ApiError, get, onSignedOut, send, setCsrf} from "../../voicestatus/web/dashboard/api.js";

let asked, signedOut;
beforeEach(() => {
  [asked, signedOut] = [[], 0];
  setCsrf("secret");
  onSignedOut(() => {
    signedOut += 1;
  });
});

function answer(status, text, headers = {}) {
  globalThis.fetch = async (url, options) => {
    asked.push({url, ...options});
    return new Response(status === 204 ? null : text, {status, headers});
  };
}

const failure = (promise) => promise.then(() => assert.fail("it worked"), (error) => error);

test("paths stand below the API, those of signing in as they are", async () => {
  answer(200, "{}");
  await get("/devices?limit=1");
  await send("POST", "/auth/logout");
  assert.deepEqual(asked.map(({url}) => url), ["/api/v1/devices?limit=1", "/auth/logout"]);
});

test("a write shows whose page it is, a read does not", async () => {
  answer(204);
  await get("/me");
  assert.equal(await send("PATCH", "/x", {a: 1}), null);
  const [read, write] = asked;
  assert.ok(!("X-CSRF-Token" in read.headers) && read.body === undefined);
  assert.equal(write.headers["X-CSRF-Token"], "secret");
  assert.equal(write.body, '{"a":1}');
  assert.equal(write.headers["Content-Type"], "application/json");
});

test("a refusal has its code, its details, and when to come again", async () => {
  answer(503, '{"error": {"code": "DISCORD_UNAVAILABLE", "message": "m", "details": {}, "requestId": "r"}}', {"Retry-After": "7"});
  const error = await failure(get("/x"));
  assert.ok(error instanceof ApiError);
  assert.deepEqual([error.status, error.code, error.message, error.requestId, error.retryAfterS], [503, "DISCORD_UNAVAILABLE", "m", "r", 7]);
});

test("a proxy's page is an error that says its status", async () => {
  answer(502, "<html>Bad Gateway</html>");
  const error = await failure(get("/x"));
  assert.deepEqual([error.status, error.code], [502, "UNEXPECTED"]);
  assert.match(error.message, /502/);
});

test("a server that does not answer is said so, and who gave up is told that", async () => {
  globalThis.fetch = async () => {
    throw new TypeError("Failed to fetch");
  };
  assert.equal((await failure(get("/x"))).code, "UNREACHABLE");
  const gaveUp = new AbortController();
  globalThis.fetch = async (_, {signal}) => signal.throwIfAborted();
  gaveUp.abort();
  assert.equal((await failure(get("/x", {signal: gaveUp.signal}))).name, "AbortError");
});

test("a session that has ended is told, a wrong token is not taken for that", async () => {
  answer(401, '{"error": {"code": "UNAUTHORIZED", "message": "m"}}');
  await failure(send("POST", "/auth/token", {token: "x"}));
  assert.equal(signedOut, 0);
  await failure(get("/devices"));
  assert.equal(signedOut, 1);
});
