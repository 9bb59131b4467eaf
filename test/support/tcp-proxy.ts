// A TCP proxy that stands between two parts and fails on command, as networks do.
import { createConnection, createServer, type Server, type Socket } from "node:net";

/**
 * - `pass`: bytes go both ways.
 * - `stall`: connections are accepted, but the bytes of the stalled directions wait until the proxy passes again.
 * - `half-open`: the server's side is gone and the client is not told: its bytes vanish, also after the proxy passes again.
 * - `refuse`: connections that exist go on, new ones are refused.
 * - `slow`: bytes go both ways, each piece of them after a while.
 * - `lose-answers`: what the client sends arrives; the first bytes of the answer are lost, and the connection with them.
 */
export type ProxyMode =
  | "pass"
  | "stall"
  | "stall-to-server"
  | "stall-to-client"
  | "half-open"
  | "refuse"
  | "slow"
  | "lose-answers";

export type TcpProxy = {
  port: number;
  /** Switches the proxy, existing connections included; resolves when the switch is done. */
  set: (mode: ProxyMode) => Promise<void>;
  mode: () => ProxyMode;
  /** Destroys all connections, both sides; those that come later are served as the mode says. */
  cut: () => void;
  /** Connections of clients that are open now. */
  connections: () => number;
  stop: () => Promise<void>;
};

type Link = {
  client: Socket;
  server: Socket;
  dead: boolean;
  /** Sockets whose last piece is on its way still. */
  held: Set<Socket>;
};

const slownessMs = 40;

/** Starts a proxy on 127.0.0.1 that forwards to a port there; `port` 0 takes a free one. */
export async function startTcpProxy(targetPort: number, port = 0): Promise<TcpProxy> {
  const links = new Set<Link>();
  let mode: ProxyMode = "pass";
  let listener: Server | null = await listen(port);
  const ownPort = (listener.address() as { port: number }).port;

  function listen(at: number): Promise<Server> {
    const server = createServer({ pauseOnConnect: true, noDelay: true }, accept);
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(at, "127.0.0.1", () => resolve(server));
    });
  }

  function accept(client: Socket): void {
    const server = createConnection({ port: targetPort, host: "127.0.0.1", noDelay: true });
    const link: Link = { client, server, dead: false, held: new Set() };
    links.add(link);
    const drop = () => {
      links.delete(link);
      client.destroy();
      server.destroy();
    };
    const pass = (from: Socket, to: Socket, chunk: Buffer) => {
      if (mode !== "slow") return void (to.write(chunk) || from.pause());
      link.held.add(from);
      from.pause();
      setTimeout(() => {
        link.held.delete(from);
        if (!link.dead) to.write(chunk);
        applyTo(link);
      }, slownessMs);
    };
    client.on("data", (chunk: Buffer) => {
      if (!link.dead) pass(client, server, chunk);
    });
    server.on("data", (chunk: Buffer) => {
      if (link.dead) return;
      if (mode === "lose-answers") return drop();
      pass(server, client, chunk);
    });
    client.on("drain", () => applyTo(link));
    server.on("drain", () => applyTo(link));
    for (const socket of [client, server]) socket.on("error", () => {});
    client.on("close", drop);
    server.on("close", () => {
      // What has arrived is still written out: an end of the server is not a loss of its last words.
      if (link.dead) return;
      client.end();
      client.resume();
    });
    applyTo(link);
  }

  /** Lets the bytes of a connection flow as the mode says. */
  function applyTo(link: Link): void {
    const { client, server } = link;
    if (mode === "half-open" && !link.dead) {
      link.dead = true;
      server.destroy();
    }
    if (link.dead) return void client.resume();
    const toServer = mode !== "stall" && mode !== "stall-to-server";
    const toClient = mode !== "stall" && mode !== "stall-to-client";
    if (toServer && !server.writableNeedDrain && !link.held.has(client)) client.resume();
    else client.pause();
    if (toClient && !client.writableNeedDrain && !link.held.has(server)) server.resume();
    else server.pause();
  }

  function cut(): void {
    for (const link of [...links]) {
      link.dead = true;
      links.delete(link);
      link.client.destroy();
      link.server.destroy();
    }
  }

  return {
    port: ownPort,
    async set(next) {
      mode = next;
      for (const link of [...links]) applyTo(link);
      if (next === "refuse") {
        listener?.close();
        listener = null;
      } else listener ??= await listen(ownPort);
    },
    mode: () => mode,
    cut,
    connections: () => links.size,
    async stop() {
      // Its callback is not waited for: Bun does not call it once a paused socket has been destroyed.
      listener?.close();
      listener = null;
      cut();
    },
  };
}
