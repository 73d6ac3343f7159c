// A voice stream as one writes it on Node: `http`, an EventEmitter with a listener for
// each reader, and `ws` for the signs beside them. A text is made once for all.
//
//   node streams.js TOKEN
//
// Listens on free ports of the loopback, tells that of readers and signs and that of
// the control on standard output, and takes "1" (somebody joins) and "0" (they leave)
// on the latter.

import { EventEmitter } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { createServer as createControlServer } from "node:net";
import { WebSocket, WebSocketServer } from "ws";

const HOST = "127.0.0.1";
const STREAM = "/api/v1/discord/1/voice-stream";
const PING_EVERY_MS = 15_000;
const COMMENT_EVERY_MS = 15_000;

const token = process.argv[2];
const voice = new EventEmitter();
voice.setMaxListeners(0);
const letIn = new Set();
let number = 0;
let there = false;

function snapshot() {
  const members = there ? [{ userId: "3", displayName: "Ada Lovelace" }] : [];
  const voiceChannels = [{ id: "2", name: "Lounge", type: "voice", members }];
  const data = JSON.stringify({ guildId: "1", state: "known", voiceChannels });
  return `event: snapshot\nid: ${number}\ndata: ${data}\n\n`;
}

const server = createHttpServer((request, response) => {
  if (
    request.url !== STREAM ||
    request.headers.authorization !== `Bearer ${token}`
  ) {
    response.writeHead(404).end("not found");
    return;
  }
  response.writeHead(200, {
    "content-type": "text/event-stream",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
  });
  response.write(`retry: 3000\n\n${snapshot()}`);
  const tell = (text) => response.write(text);
  voice.on("told", tell);
  request.on("close", () => voice.off("told", tell));
});

const signs = new WebSocketServer({ server, path: "/ws" });

signs.on("connection", (sign) => {
  sign.isAlive = true;
  sign.on("pong", () => {
    sign.isAlive = true;
  });
  sign.on("message", (data) => {
    if (data.toString() !== `AUTH:${token}`) {
      sign.close();
      return;
    }
    letIn.add(sign);
    sign.send("OK");
    sign.send(there ? "1" : "0");
  });
  const leave = () => letIn.delete(sign);
  sign.on("close", leave);
  sign.on("error", leave);
});

setInterval(() => {
  for (const sign of signs.clients) {
    if (!sign.isAlive) {
      sign.terminate();
      continue;
    }
    sign.isAlive = false;
    sign.ping();
  }
}, PING_EVERY_MS);

setInterval(() => voice.emit("told", ":\n\n"), COMMENT_EVERY_MS);

function turn(comes) {
  if (comes === there) return;
  there = comes;
  number += 1;
  for (const sign of letIn) {
    if (sign.readyState === WebSocket.OPEN) sign.send(there ? "1" : "0");
  }
  const data = JSON.stringify({
    guildId: "1",
    channelId: there ? "2" : null,
    channelName: there ? "Lounge" : null,
    channelType: "voice",
    userId: "3",
    displayName: "Ada Lovelace",
    avatarUrl: null,
    action: there ? "join" : "leave",
    previousChannelId: there ? null : "2",
    previousChannelName: there ? null : "Lounge",
  });
  voice.emit("told", `id: ${number}\ndata: ${data}\n\n`);
}

const control = createControlServer((socket) => {
  socket.on("data", (orders) => {
    for (const order of orders.toString()) turn(order === "1");
  });
  socket.on("error", () => {});
});

server.listen({ port: 0, host: HOST, backlog: 1024 }, () => {
  control.listen(0, HOST, () => {
    console.log(`${server.address().port} ${control.address().port}`);
  });
});
