// What tests of the bridge ask: what JetStream holds of a stream, and how it is published.
import type { JetStreamManager, NatsConnection } from "nats";

export type Held = { sequence: number; subject: string; headers: Record<string, string>; text: string };

const asked = 250;
const noMessage = 10037;
const decoder = new TextDecoder();

/** All messages of a JetStream stream, by sequence; empty while there is none. */
export async function heldBy(client: NatsConnection, stream: string): Promise<Held[]> {
  const manager = await client.jetstreamManager({ timeout: 5_000 });
  const state = await stateOf(manager, stream);
  if (state === null || state.messages === 0) return [];
  const held: Held[] = [];
  // Asked for one by one: a consumer would have to be placed on a server of the cluster, and that may be the one that is lost.
  for (let first = state.first_seq; first <= state.last_seq; first += asked) {
    const sequences = range(Math.min(asked, state.last_seq - first + 1), first);
    const found = await Promise.all(
      sequences.map((seq) =>
        manager.streams.getMessage(stream, { seq }).catch((error: unknown) => {
          if ((error as { api_error?: { err_code: number } }).api_error?.err_code === noMessage) return null;
          throw error;
        }),
      ),
    );
    for (const message of found) {
      if (message === null) continue;
      const headers: Record<string, string> = {};
      for (const [name, values] of message.header ?? []) headers[name] = values[0] ?? "";
      held.push({ sequence: message.seq, subject: message.subject, headers, text: decoder.decode(message.data) });
    }
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

/** The names of the consumers of a stream. A server may tell of one, in its place in the list, that it is just going: null. */
export async function consumersOf(manager: JetStreamManager, stream: string): Promise<string[]> {
  const listed: ({ name: string } | null)[] = await Array.fromAsync(manager.consumers.list(stream));
  return listed.flatMap((consumer) => consumer?.name ?? []);
}
