// Followers: event streams that are read, dropped and taken up again as EventSource does (WHATWG HTML, section 9.2).
import { setTimeout as sleep } from "node:timers/promises";
import { type History, type ReaderDeclared, seenEvent } from "./history.ts";
import { createHttpConnection } from "./http-connection.ts";
import type { Random } from "./random.ts";

export type FollowerOptions = {
  history: History;
  random: Random;
  /** Ports of the services, as readers reach them. */
  ports: readonly number[];
  reader: ReaderDeclared;
  /** Milliseconds between deliberate drops of the connection; null: it keeps what it has. */
  dropEveryMs: number | null;
  /** Stops reading for a while now and then. */
  slow: boolean;
};

export type Follower = {
  reader: ReaderDeclared;
  /** The last event id, as it would be sent on a reconnect; null before the first. */
  cursor: () => number | null;
  reconnects: () => number;
  /** Whether it was told the end that it asked for, and was sent away (204) when it asked again. */
  isDone: () => boolean;
  /** Resolves when it asks no more: it is done, or was stopped. */
  ended: Promise<void>;
  /** From now on the connection is neither dropped nor slowed down. */
  calm: () => void;
  stop: () => Promise<void>;
};

// Several heartbeats: a connection that says nothing for so long is dead, though nobody said so.
const silenceMs = 5_000;

export function startFollower(options: FollowerOptions): Follower {
  const { history, random, ports, reader } = options;
  const name = reader.reader;
  const isBounded = reader.to !== null || reader.limit !== null;
  history.add(reader);
  let lastEventId: string | null = null;
  let retryMs = 200;
  let connections = 0;
  let stopped = false;
  let calm = false;
  let done = false;
  let close = () => {};

  async function connect(): Promise<void> {
    const connection = createHttpConnection(random.pick(ports));
    close = () => connection.close();
    const sentId = lastEventId;
    const invokedAt = history.now();
    const mishaps = plan(connection);
    const decoder = new TextDecoder();
    let text = "";
    try {
      await connection.send({
        method: "GET",
        path: pathOf(reader),
        headers: { accept: "text/event-stream", ...(sentId === null ? {} : { "last-event-id": sentId }) },
        silenceMs,
        onHead(status) {
          connections++;
          done = status === 204;
          history.add({ kind: "connected", reader: name, at: history.now(), invokedAt, lastEventId: sentId, status });
        },
        onBody(chunk) {
          text += decoder.decode(chunk, { stream: true });
          for (let end = text.indexOf("\n\n"); end !== -1; end = text.indexOf("\n\n")) {
            take(text.slice(0, end));
            text = text.slice(end + 2);
          }
        },
      });
    } catch {
      // Broken off: what is left of a frame is forgotten, as EventSource does.
    } finally {
      for (const timer of mishaps) clearTimeout(timer);
      connection.close();
    }
  }

  function plan(connection: ReturnType<typeof createHttpConnection>): ReturnType<typeof setTimeout>[] {
    if (calm) return [];
    const timers: ReturnType<typeof setTimeout>[] = [];
    if (options.dropEveryMs !== null)
      timers.push(setTimeout(() => connection.close(), random.between(1, 2 * options.dropEveryMs)));
    if (options.slow) {
      const at = random.between(0, 2_000);
      timers.push(setTimeout(() => connection.pause(), at));
      timers.push(setTimeout(() => connection.resume(), at + random.between(500, 4_000)));
    }
    return timers;
  }

  function take(frame: string): void {
    const fields = new Map<string, string>();
    for (const line of frame.split("\n")) {
      const at = line.indexOf(":");
      if (at > 0) fields.set(line.slice(0, at), line.slice(at + 1).replace(/^ /, ""));
    }
    const id = fields.get("id") ?? null;
    const event = fields.get("event") ?? null;
    const data = fields.get("data") ?? null;
    const retry = fields.get("retry");
    if (retry !== undefined) retryMs = Number(retry);
    if (id !== null) lastEventId = id;
    const own = event?.startsWith("sluice.") ?? false;
    history.add({
      kind: "frame",
      reader: name,
      at: history.now(),
      id,
      name: own ? event : null,
      data: own ? data : null,
      event: own || data === null ? null : seenEvent(data),
    });
  }

  const running = (async () => {
    while (!stopped && !(done && isBounded)) {
      await connect();
      if (!stopped && !done) await sleep(Math.min(retryMs, 1_000));
    }
  })();

  return {
    reader,
    cursor: () => (lastEventId === null || !/^-?\d+$/.test(lastEventId) ? null : Number(lastEventId)),
    reconnects: () => Math.max(0, connections - 1),
    isDone: () => done,
    ended: running,
    calm() {
      calm = true;
    },
    async stop() {
      stopped = true;
      close();
      await running;
    },
  };
}

/** The path that a reader asks for. */
export function pathOf(reader: ReaderDeclared): string {
  const query = new URLSearchParams();
  if (reader.from !== "latest") query.set("from", String(reader.from));
  if (reader.to !== null) query.set("to", String(reader.to));
  if (reader.limit !== null) query.set("limit", String(reader.limit));
  if (reader.types !== null) query.set("types", reader.types.join(","));
  if (reader.above !== null) query.set("where", `$.n > ${reader.above}`);
  if (!reader.single) for (const stream of reader.streams ?? []) query.append("stream", stream);
  const path = reader.single ? `/api/streams/${reader.streams?.[0]}/events` : "/api/events";
  return query.size === 0 ? path : `${path}?${query}`;
}
