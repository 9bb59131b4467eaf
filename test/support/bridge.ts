// What tests of the bridge ask: what JetStream holds of a stream, and how it is published.
import type { JetStreamManager, NatsConnection } from "nats";

export type Held = { sequence: number; subject: string; headers: Record<string, string>; text: string };

/** All messages of a JetStream stream, by sequence; empty while there is none. */
export async function heldBy(client: NatsConnection, stream: string): Promise<Held[]> {
  const manager = await client.jetstreamManager({ timeout: 5_000 });
  const state = await stateOf(manager, stream);
  if (state === null || state.messages === 0) return [];
  const consumer = await client.jetstream().consumers.get(stream);
  const held: Held[] = [];
  const messages = await consumer.consume({ max_messages: 1_000 });
  for await (const message of messages) {
    const headers: Record<string, string> = {};
    for (const [name, values] of message.headers ?? []) headers[name] = values[0] ?? "";
    held.push({ sequence: message.seq, subject: message.subject, headers, text: message.string() });
    if (message.seq >= state.last_seq) break;
  }
  return held;
}

async function stateOf(manager: JetStreamManager, stream: string) {
  return manager.streams.info(stream).then(
    (info) => info.state,
    () => null,
  );
}

/** The offsets of what JetStream holds of a stream, in the order of its messages. */
export async function offsetsOf(client: NatsConnection, stream: string): Promise<number[]> {
  return (await heldBy(client, stream)).map(({ headers }) => Number(headers["ce-offset"]));
}

export async function countOf(client: NatsConnection, stream: string): Promise<number> {
  return (await stateOf(await client.jetstreamManager({ timeout: 5_000 }), stream))?.messages ?? 0;
}

export const range = (count: number, from = 0): number[] => Array.from({ length: count }, (_, n) => from + n);
