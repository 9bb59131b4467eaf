// Sends appends and records what became of them; repeats a request that may be repeated until its outcome is known.
import { setTimeout as sleep } from "node:timers/promises";
import type { AppendAnswered, History } from "./history.ts";
import { createHttpConnection, type HttpAnswer, type HttpConnection } from "./http-connection.ts";
import type { Random } from "./random.ts";

export type NewEvent = {
  id: string | null;
  mark: string;
  type: string;
  n: number;
  pad: string;
  partitionKey?: string | null;
  /** More of its attributes. */
  attributes?: Record<string, string>;
};

export type Append = {
  group: string;
  stream: string;
  events: NewEvent[];
  expected: number | null;
  key: string | null;
};

export type AppendClient = {
  /** One attempt, at the service with this index. */
  attempt: (append: Append, service: number) => Promise<AppendAnswered>;
  /** Attempts at any service until the outcome is known. */
  settle: (append: Append) => Promise<AppendAnswered>;
  close: () => void;
};

export type AppendClientOptions = {
  history: History;
  random: Random;
  /** Ports of the services, as writers reach them. */
  ports: readonly number[];
  nextOp: () => number;
  /** Fires when nobody can expect an outcome any more. */
  giveUp: AbortSignal;
};

// Above the service's own limit for an answer of the database.
const silenceMs = 8_000;

export function createAppendClient({ history, random, ports, nextOp, giveUp }: AppendClientOptions): AppendClient {
  const connections = ports.map((port) => createHttpConnection(port));

  async function attempt(append: Append, service: number): Promise<AppendAnswered> {
    const { group, stream, events, expected, key } = append;
    const op = nextOp();
    const ids = events.map((event) => event.id);
    const marks = events.map((event) => event.mark);
    history.add({ kind: "invoked", op, at: history.now(), group, stream, expected, key, ids, marks });
    let answered: AppendAnswered;
    try {
      const answer = await (connections[service] as HttpConnection).send(requestOf(append));
      answered = readAnswer(op, history.now(), answer);
    } catch (error) {
      const reason = (error as Error).message;
      const nothing = { status: null, stored: [], lastPosition: null, actual: null, body: null };
      answered = { kind: "answered", op, at: history.now(), outcome: "unknown", reason, ...nothing };
    }
    history.add(answered);
    // A service that is away is not asked as fast as one can.
    if (answered.status === null) await sleep(random.between(50, 200));
    return answered;
  }

  return {
    attempt,
    async settle(append) {
      for (;;) {
        const answered = await attempt(append, random.between(0, ports.length - 1));
        if (answered.outcome !== "unknown" && answered.reason !== "idempotency-key-in-use") return answered;
        if (giveUp.aborted) {
          history.alarm(`append ${append.group} never had an outcome: ${answered.status} ${answered.reason}`);
          return answered;
        }
        await sleep(random.between(20, 200));
      }
    },
    close() {
      for (const connection of connections) connection.close();
    },
  };
}

function requestOf({ stream, events, expected, key }: Append) {
  const bodies = events.map(({ id, mark, type, n, pad, partitionKey = null, attributes = {} }) => ({
    ...(id === null ? {} : { id }),
    ...(partitionKey === null ? {} : { partitionkey: partitionKey }),
    ...attributes,
    type,
    data: { mark, n, ...(pad === "" ? {} : { pad }) },
  }));
  return {
    method: "POST" as const,
    path: `/api/streams/${stream}/events`,
    headers: {
      "content-type": "application/json",
      ...(expected === null ? {} : expected === -1 ? { "if-none-match": "*" } : { "if-match": `"${expected}"` }),
      ...(key === null ? {} : { "idempotency-key": key }),
    },
    body: JSON.stringify(bodies.length === 1 ? bodies[0] : bodies),
    silenceMs,
  };
}

type Answer = {
  type?: string;
  actual?: string;
  lastPosition?: string;
  events?: { id: string; offset: string; duplicate: boolean }[];
};

function readAnswer(op: number, at: number, answer: HttpAnswer): AppendAnswered {
  const { status, body } = answer;
  const read = JSON.parse(body) as Answer;
  const base = { kind: "answered" as const, op, at, status, body: null };
  if (status < 300) {
    const stored = (read.events ?? []).map((event) => ({ ...event, offset: Number(event.offset) }));
    const lastPosition = Number(read.lastPosition);
    return {
      ...base,
      outcome: "acknowledged",
      reason: null,
      stored,
      lastPosition,
      actual: null,
      body: `${status} ${body}`,
    };
  }
  return {
    ...base,
    outcome: status < 500 ? "refused" : "unknown",
    reason: read.type?.replace("/problems/", "") ?? "",
    stored: [],
    lastPosition: null,
    actual: read.actual === undefined ? null : Number(read.actual),
  };
}
