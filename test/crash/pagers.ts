// Readers of history: walk through pages of JSON, or replay lines of JSON, again and again while the log grows.
import { setTimeout as sleep } from "node:timers/promises";
import { pathOf } from "./followers.ts";
import { type History, type ReaderDeclared, type SeenEvent, seenEvent } from "./history.ts";
import { createHttpConnection, type HttpConnection } from "./http-connection.ts";
import type { Random } from "./random.ts";

export type PagerOptions = {
  history: History;
  random: Random;
  ports: readonly number[];
  reader: ReaderDeclared;
  stop: AbortSignal;
};

const silenceMs = 8_000;
const pauseMs = 300;

/** Walks until it is told to stop; a walk that broke begins anew (a replay) or repeats its page (JSON). */
export async function runPager(options: PagerOptions): Promise<void> {
  options.history.add(options.reader);
  for (let walk = 0; !options.stop.aborted; walk++) {
    if (options.reader.form === "json") await walkPages(options, walk);
    else await replay(options, walk);
    await sleep(options.random.between(pauseMs / 2, pauseMs * 2));
  }
}

async function walkPages({ history, random, ports, reader, stop }: PagerOptions, walk: number): Promise<void> {
  const limit = random.pick([7, 50, 100, 1_000]);
  const first = pathOf(reader);
  let path: string | null = `${first}${first.includes("?") ? "&" : "?"}limit=${limit}`;
  while (path !== null && !stop.aborted) {
    const invokedAt = history.now();
    const connection = createHttpConnection(random.pick(ports));
    const answer = await get(connection, path, "application/json");
    // A stream that does not exist yet is worth another walk, an outage another try.
    if (answer?.status === 404) return;
    if (answer === null || answer.status !== 200) {
      if (answer !== null && answer.status < 500) {
        history.alarm(`${reader.reader} got ${answer.status} for ${path}: ${answer.body.slice(0, 200)}`);
        return;
      }
      await sleep(random.between(50, 300));
      continue;
    }
    const page = JSON.parse(answer.body) as { next: string | null };
    history.add({
      kind: "page",
      reader: reader.reader,
      walk,
      invokedAt,
      at: history.now(),
      events: envelopesOf(answer.body).map(seenEvent),
      last: page.next === null,
    });
    path = page.next;
    if (random.chance(0.2)) await sleep(random.between(1, 50));
  }
}

/** The envelopes of a page, as they stand in the body: their bytes are compared. */
function envelopesOf(body: string): string[] {
  const list = body.slice('{"events":['.length, body.lastIndexOf('],"next":'));
  return list === "" ? [] : list.split(/,(?=\{"specversion":)/);
}

async function replay({ history, random, ports, reader }: PagerOptions, walk: number): Promise<void> {
  const events: SeenEvent[] = [];
  const decoder = new TextDecoder();
  const invokedAt = history.now();
  let text = "";
  const connection = createHttpConnection(random.pick(ports));
  const answer = await get(connection, pathOf(reader), "application/x-ndjson", (chunk) => {
    text += decoder.decode(chunk, { stream: true });
    const lines = text.split("\n");
    text = lines.pop() as string;
    for (const line of lines) events.push(seenEvent(line));
  });
  if (answer !== null && answer.status !== 200 && answer.status !== 404 && answer.status < 500) {
    history.alarm(`${reader.reader} got ${answer.status}: ${answer.body.slice(0, 200)}`);
  }
  if (answer?.status === 200 && text !== "") history.alarm(`${reader.reader}: a replay ended within a line`);
  const last = answer?.status === 200;
  history.add({ kind: "page", reader: reader.reader, walk, invokedAt, at: history.now(), events, last });
}

/** The answer; null when the connection broke. */
async function get(connection: HttpConnection, path: string, accept: string, onBody?: (chunk: Buffer) => void) {
  try {
    return await connection.send({
      method: "GET",
      path,
      headers: { accept },
      silenceMs,
      ...(onBody === undefined ? {} : { onBody }),
    });
  } catch {
    return null;
  } finally {
    connection.close();
  }
}
