// Speaks the contract of remote streams for tests, and publishes messages with a stock client.
import { headers, type JetStreamClient, type NatsConnection } from "nats";
import { type Answer, type ProblemBody, send } from "./client.ts";
import { put } from "./consume.ts";
import { until } from "./until.ts";

export type RemoteBody = {
  name: string;
  consumer: string;
  state: string;
  mirrored: { jetstream: string; sequence: string } | null;
  pending: string | null;
  lagSeconds: number | null;
  redelivered: string;
  retrying: { count: string };
  deadLetters: { count: string };
  lastError: { message: string; at: string } | null;
};

export type LetterBody = {
  id: string;
  sequence: string;
  subject: string;
  headers: Record<string, string>;
  payload?: string;
  payloadBase64?: string;
  reason: string;
  detail: string;
  attempts: number;
};

export const putRemote = <Body = RemoteBody>(base: string, name: string, body: unknown): Promise<Answer<Body>> =>
  put<Body>(`${base}/api/remote-streams/${name}`, body);

export async function remote(base: string, name: string): Promise<RemoteBody> {
  return (await send<RemoteBody>(`${base}/api/remote-streams/${name}`)).body;
}

export async function letters(base: string, name: string): Promise<LetterBody[]> {
  const answer = await send<{ deadLetters: LetterBody[] } & ProblemBody>(
    `${base}/api/remote-streams/${name}/dead-letters`,
  );
  return answer.body.deadLetters;
}

/** A client with a stream of its own, as a service has it that is not of this kind. */
export type Producer = {
  js: JetStreamClient;
  publish: (subject: string, data: unknown, lines?: Record<string, string>) => Promise<void>;
};

export async function produce(client: NatsConnection, stream: string, subjects: string[]): Promise<Producer> {
  const manager = await client.jetstreamManager();
  await manager.streams.add({ name: stream, subjects });
  const js = client.jetstream();
  return {
    js,
    async publish(subject, data, lines = {}) {
      const head = headers();
      for (const [name, value] of Object.entries(lines)) head.set(name, value);
      const payload = data instanceof Uint8Array || typeof data === "string" ? data : JSON.stringify(data);
      // A server that has just come back may not hear it.
      await until("it is published", () =>
        js.publish(subject, payload, { headers: head, timeout: 2_000 }).then(
          () => true,
          () => false,
        ),
      );
    },
  };
}

export const logId = "5b0d2a52-6c1f-4a3e-9d57-0f2f3a8f9c11";

/** Headers of an event as a service of this kind publishes it. */
export function sluiceHeaders(offset: number, more: Record<string, string> = {}): Record<string, string> {
  return {
    "Nats-Msg-Id": `e-${offset}`,
    "ce-specversion": "1.0",
    "ce-id": `e-${offset}`,
    "ce-type": "Counted",
    "ce-source": "/svca/streams/numbers",
    "ce-time": "2026-01-01T00:00:00.000Z",
    "ce-datacontenttype": "application/json",
    "Content-Type": "application/json",
    "ce-stream": "numbers",
    "ce-offset": String(offset),
    "ce-logid": logId,
    "ce-recordedtime": "2026-01-01T00:00:00.000Z",
    "ce-schemaversion": "1",
    ...more,
  };
}

/** Resolves when all that was published is mirrored or set aside. */
export async function mirrored(base: string, name: string, sequence: number): Promise<RemoteBody> {
  return until(`${name} is mirrored up to ${sequence}`, async () => {
    const body = await remote(base, name);
    return Number(body.mirrored?.sequence ?? 0) >= sequence ? body : null;
  });
}
