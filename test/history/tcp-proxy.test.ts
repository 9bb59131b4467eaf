// The proxy that stands before Postgres and the services in tests fails as it is told.
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import { until } from "../support/until.ts";

let echo: Server;
let served = 0;
let open = 0;
let proxy: TcpProxy;

beforeAll(async () => {
  echo = createServer((socket) => {
    open++;
    socket.on("error", () => {});
    socket.on("close", () => open--);
    socket.on("data", (chunk) => {
      served += chunk.length;
      socket.write(chunk);
    });
  });
  await new Promise<void>((resolve) => echo.listen(0, "127.0.0.1", resolve));
  proxy = await startTcpProxy((echo.address() as { port: number }).port);
});
afterAll(async () => {
  await proxy.stop();
  echo.close();
});
beforeEach(async () => {
  await proxy.set("pass");
  proxy.cut();
  await until("no connection is left", () => open === 0);
  served = 0;
});

type Client = { socket: Socket; text: () => string; closed: () => boolean };

function connect(): Client {
  const socket = createConnection(proxy.port, "127.0.0.1");
  let text = "";
  let closed = false;
  socket.on("data", (chunk) => {
    text += chunk;
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    closed = true;
  });
  return { socket, text: () => text, closed: () => closed };
}

async function greeted(): Promise<Client> {
  const client = connect();
  client.socket.write("hello");
  await until("the echo comes", () => client.text() === "hello");
  return client;
}

test("bytes pass both ways, and a cut is felt on both sides", async () => {
  const client = await greeted();
  expect(proxy.connections()).toBe(1);
  proxy.cut();
  await until("the client is cut off", client.closed);
  await until("the server is cut off", () => open === 0);
});

test("what is stalled waits, in one direction or both, and comes when the proxy passes again", async () => {
  const client = await greeted();
  await proxy.set("stall-to-client");
  client.socket.write("one");
  await until("the server has it", () => served === 8);
  expect(client.text()).toBe("hello");
  await proxy.set("stall");
  client.socket.write("two");
  const other = connect();
  other.socket.write("new");
  await until("the new connection is accepted", () => proxy.connections() === 2);
  expect(served).toBe(8);
  await proxy.set("pass");
  await until("all has come", () => client.text() === "helloonetwo" && other.text() === "new");
});

test("what is slowed comes in order, also when the proxy passes again before all of it has come", async () => {
  const client = await greeted();
  await proxy.set("slow");
  client.socket.write("one");
  client.socket.write("two");
  await until("it comes all the same", () => client.text() === "helloonetwo");
  client.socket.write("three");
  await proxy.set("pass");
  client.socket.write("four");
  await until("all has come", () => client.text() === "helloonetwothreefour");
});

test("a half-open connection swallows what it is sent, also when the proxy passes again", async () => {
  const client = await greeted();
  await proxy.set("half-open");
  await until("the server has lost its client", () => open === 0);
  client.socket.write("lost");
  await proxy.set("pass");
  client.socket.write("lost, too");
  await greeted();
  expect(client.closed()).toBe(false);
  expect(client.text()).toBe("hello");
});

test("new connections are refused and existing ones go on, until the proxy passes again", async () => {
  const client = await greeted();
  await proxy.set("refuse");
  const refused = connect();
  await until("the new one is refused", refused.closed);
  client.socket.write("!");
  await until("the old one goes on", () => client.text() === "hello!");
  await proxy.set("pass");
  await greeted();
});

test("an answer is lost after the request has arrived", async () => {
  const client = await greeted();
  await proxy.set("lose-answers");
  client.socket.write("request");
  await until("the connection is lost", client.closed);
  expect(served).toBe(12);
  expect(client.text()).toBe("hello");
});
