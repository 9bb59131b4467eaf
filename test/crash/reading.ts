// Consumers of read-receipt subscriptions: they look at what they have not read, and read it: some, up to a place, or all.
import { setTimeout as sleep } from "node:timers/promises";
import type { Delivered, SubscriptionDeclared, WhatIsRead } from "./consumer-history.ts";
import type { History } from "./history.ts";
import type { Random } from "./random.ts";
import { createRequests, problemOf } from "./requests.ts";
import { pathOf } from "./subscribed.ts";

export type Reading = {
  know: (deliveries: readonly Delivered[]) => void;
  /** Looks and reads now and then, until the signal fires. Some consumers never read. */
  run: (stop: AbortSignal) => Promise<void>;
  /** Looks at everything that is unread. */
  list: () => Promise<void>;
};

export type ReadingOptions = {
  history: History;
  random: Random;
  declared: SubscriptionDeclared;
  consumer: string;
  ports: readonly number[];
  nextOp: () => number;
};

type UnreadPage = { events: { id: string; position: string }[]; next: string | null };

const silenceMs = 8_000;
const patienceMs = 30_000;

export function createReading(options: ReadingOptions): Reading {
  const { history, random, declared, consumer, nextOp } = options;
  const request = createRequests({ ...options, silenceMs });
  const { subscription } = declared;
  const path = `${pathOf(declared)}/consumers/${consumer}`;
  const known = new Map<number, string>();
  let knownUpTo = -1;
  const readsAtAll = random.chance(0.75);

  function know(position: number, id: string): void {
    known.set(position, id);
    knownUpTo = Math.max(knownUpTo, position);
  }

  /** A problem that a consumer has to expect before its first claim is none. */
  function refused(what: string, { status, body }: { status: number; body: string }): void {
    if (status >= 500 || (knownUpTo === -1 && problemOf(body) === "consumer-not-found")) return;
    history.alarm(`${consumer} ${what} and was answered ${status} ${body}`);
  }

  /** One page; what the next one goes on behind, null after the last one, false when there was no answer. */
  async function listPage(after: number, limit: number): Promise<number | null | false> {
    const invokedAt = history.now();
    const query = `limit=${limit}${after < 0 ? "" : `&after=${after}`}`;
    const answer = await request("GET", `${path}/unread?${query}`, null).catch(() => null);
    if (answer === null) return false;
    if (answer.status !== 200) {
      refused("asked for what is unread", answer);
      return false;
    }
    const { events, next } = JSON.parse(answer.body) as UnreadPage;
    const upTo = next === null ? null : Number(new URL(next, "http://sluice").searchParams.get("after"));
    const positions = events.map(({ position }) => Number(position));
    history.add({
      ...{ kind: "unread-listed", invokedAt, at: history.now(), subscription, consumer },
      ...{ after, upTo, positions },
    });
    for (const { id, position } of events) know(Number(position), id);
    return upTo;
  }

  async function list(limit: number): Promise<boolean> {
    for (let after: number | null | false = -1; after !== null; ) {
      after = await listPage(after, limit);
      if (after === false) return false;
    }
    return true;
  }

  async function read(what: WhatIsRead, body: object): Promise<void> {
    const op = nextOp();
    history.add({ kind: "reading", op, at: history.now(), subscription, consumer, what });
    const answer = await request("POST", `${path}/read`, body).catch(() => null);
    const count = answer?.status === 200 ? (JSON.parse(answer.body) as { read: number }).read : 0;
    history.add({ kind: "reading-answered", op, at: history.now(), status: answer?.status ?? null, read: count });
    if (answer !== null && answer.status !== 200) refused("read", answer);
  }

  async function readSome(): Promise<void> {
    const all = [...known.keys()];
    const kind = random.pick(["ids", "ids", "ids", "upTo", "all"] as const);
    if (kind === "all") {
      if (random.chance(0.3)) await read({ all: true, knownUpTo }, { all: true });
    } else if (all.length === 0) return;
    else if (kind === "upTo") {
      const upTo = random.pick(all.slice(0, random.between(1, all.length)));
      await read({ upTo }, { upTo: String(upTo) });
    } else {
      // Mostly of the newest: some are handed out in this moment, or not yet.
      const from = random.chance(0.7) ? all.slice(-100) : all;
      const positions = [...new Set(Array.from({ length: random.between(1, 20) }, () => random.pick(from)))];
      await read({ positions }, { ids: positions.map((position) => known.get(position)) });
    }
  }

  return {
    know(deliveries) {
      for (const { position, id } of deliveries) know(position, id);
    },
    async run(stop) {
      while (!stop.aborted) {
        await sleep(random.between(20, random.chance(0.2) ? 2_000 : 300), undefined, { signal: stop }).catch(() => {});
        if (stop.aborted) return;
        if (readsAtAll && random.chance(0.6)) await readSome();
        else await list(random.pick([7, 100, 1_000]));
      }
    },
    async list() {
      for (const deadline = Date.now() + patienceMs; !(await list(100)); await sleep(100))
        if (Date.now() > deadline) return history.alarm(`${consumer} never saw what it has not read`);
    },
  };
}
