// The Node original's design on `ws`: a send for each socket on a change, one round of
// pings every 15 s that drops who did not answer the last, a timer of 5 s for each
// connection until it has said AUTH, and /health beside it.
//
//   node server.js TOKEN
//
// Listens on free ports of the loopback, tells that of the signs and that of the
// control on standard output, and takes "1" and "0" on the latter.

import { createServer as createHealthServer } from "node:http";
import { createServer as createControlServer } from "node:net";
import { WebSocket, WebSocketServer } from "ws";

const HOST = "127.0.0.1";
const PING_EVERY_MS = 15_000;
const AUTH_WITHIN_MS = 5_000;

const token = process.argv[2];
const startedAt = Date.now();
const letIn = new Set();
let light = "0";

const signs = new WebSocketServer({ host: HOST, port: 0, path: "/ws" });

signs.on("connection", (sign) => {
  let known = false;
  sign.isAlive = true;
  sign.on("pong", () => {
    sign.isAlive = true;
  });

  const refuse = () => {
    sign.send("NOAUTH");
    sign.close();
  };
  const patience = setTimeout(() => {
    if (!known) refuse();
  }, AUTH_WITHIN_MS);

  sign.on("message", (data) => {
    if (known) return;
    const text = data.toString();
    if (!text.startsWith("AUTH:") || text.slice("AUTH:".length) !== token) {
      refuse();
      return;
    }
    known = true;
    clearTimeout(patience);
    letIn.add(sign);
    sign.send("OK");
    sign.send(light);
  });

  const leave = () => {
    clearTimeout(patience);
    letIn.delete(sign);
  };
  sign.on("close", leave);
  sign.on("error", leave);
});

setInterval(() => {
  for (const sign of signs.clients) {
    if (sign.readyState !== WebSocket.OPEN) continue;
    if (!sign.isAlive) {
      sign.terminate();
      letIn.delete(sign);
      continue;
    }
    sign.isAlive = false;
    sign.ping();
  }
}, PING_EVERY_MS);

function flip(to) {
  light = to;
  for (const sign of letIn) {
    if (sign.readyState === WebSocket.OPEN) sign.send(light);
  }
}

const control = createControlServer((socket) => {
  socket.on("data", (orders) => {
    for (const order of orders.toString()) flip(order);
  });
  socket.on("error", () => {});
});

const health = createHealthServer((request, response) => {
  if (request.url !== "/health") {
    response.writeHead(404).end("not found");
    return;
  }
  const uptimeSec = Math.floor((Date.now() - startedAt) / 1000);
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify({ ok: true, espClients: letIn.size, uptimeSec }));
});

health.listen(0, HOST);
signs.on("listening", () => {
  control.listen(0, HOST, () => {
    console.log(`${signs.address().port} ${control.address().port}`);
  });
});
