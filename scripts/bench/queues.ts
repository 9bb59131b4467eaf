// Makes queues and subscriptions, fills their streams, and lets consumers take what is in them.
import type { Consumed, ConsumeOptions } from "./consume.ts";
import { type Connection, openConnection } from "./http-socket.ts";
import { outputOf, program } from "./processes.ts";
import { connectTo, type Service } from "./service.ts";

const appendedAtOnce = 1_000;
const warmUpMessages = 2_000;
let made = 0;

/** What consumers take from, and the stream that feeds it. */
export type Source = { path: string; stream: string };

/** A name that nothing in this run has had. */
export function newName(what: string): string {
  return `${what}-${++made}`;
}

/** An ephemeral stream, whose built-in queue is the source. */
export async function makeQueue(url: string, stream = newName("queue")): Promise<Source> {
  await put(url, `/api/streams/${stream}`, { type: "ephemeral" });
  return { path: `/api/streams/${stream}`, stream };
}

/** A subscription to a stream, from its beginning on. */
export async function makeSubscription(url: string, stream: string, body: Record<string, unknown>): Promise<Source> {
  const path = `/api/subscriptions/${newName("subscription")}`;
  await put(url, path, { stream, from: "beginning", ...body });
  return { path, stream };
}

export async function put(url: string, path: string, body: unknown): Promise<void> {
  const connection = await openConnection(url);
  await requireAnswer(connection, "PUT", path, JSON.stringify(body));
  connection.close();
}

/** Appends messages one after the other, so that their offsets are their numbers; with keys, a remainder is the key. */
export async function fill(url: string, stream: string, messages: number, first = 0, keys?: number): Promise<void> {
  const connection = await openConnection(url);
  const end = first + messages;
  for (let from = first; from < end; from += appendedAtOnce) {
    const events = Array.from({ length: Math.min(appendedAtOnce, end - from) }, (_, i) => messageOf(from + i, keys));
    await requireAnswer(connection, "POST", `/api/streams/${stream}/events`, `[${events.join(",")}]`);
  }
  connection.close();
}

function messageOf(n: number, keys?: number): string {
  const key = keys === undefined ? "" : `"partitionkey":"k-${n % keys}",`;
  return `{"type":"OrderPlaced",${key}"data":{"orderId":"o-${n}","amount":12.5}}`;
}

/** What autovacuum and checkpoints do within minutes happens now, so that plans do not change while it is measured. */
export async function settle(service: Service): Promise<void> {
  const sql = await connectTo(service.dataDir);
  await sql.unsafe("vacuum (analyze)");
  await sql`checkpoint`;
  await sql.end();
}

/** Consumers in a process of their own take from a source. What they find wrong is an error. */
export function consume(options: ConsumeOptions): Promise<Consumed> {
  return resultOf(program("consume.ts", JSON.stringify(options)));
}

/** What a program prints in its last line, as JSON. Throws what it says has failed. */
export async function resultOf<Result>(command: readonly string[]): Promise<Result> {
  const output = await outputOf(command);
  const result = JSON.parse(output.trim().split("\n").at(-1) ?? "") as Result & { failed?: string };
  if (result.failed !== undefined) throw new Error(result.failed);
  return result;
}

/** What a run of consumers takes before it is measured: the same kind of source with some messages. */
export async function warmUpOf(url: string, make: () => Promise<Source>): Promise<{ path: string; messages: number }> {
  const { path, stream } = await make();
  await fill(url, stream, warmUpMessages);
  return { path, messages: warmUpMessages };
}

/** The answer to a request. Throws when it is none of 2xx. */
export async function requireAnswer(
  connection: Connection,
  method: string,
  path: string,
  body?: string,
): Promise<string> {
  const { status, text } = await connection.request(method, path, body);
  if (status >= 300) throw new Error(`${method} ${path} was answered ${status} ${text}`);
  return text;
}
