// Publishes the cross-service streams: all of them by the one process that holds the lease, each by a publisher of its own.
import type { Log } from "../../../base/log.ts";
import { type Loop, startLoop } from "../../../base/loop.ts";
import { createSemaphore } from "../../../base/semaphore.ts";
import { type HeldLease, isLeaseLost, type Leases } from "../../../storage/lease.ts";
import type { Pool } from "../../../storage/pool.ts";
import type { SchemaLinks } from "../../../stream/event.ts";
import { readPositionsWithin } from "../../../stream/page.ts";
import type { Tail } from "../../../stream/tail.ts";
import { createCandidateReader } from "../../../subscription/ledger/candidates.ts";
import type { Nats } from "../jetstream.ts";
import type { StreamDefaults } from "../settings.ts";
import { writeCursors, writeStates } from "./cursor.ts";
import { readPublished } from "./publications.ts";
import { type Published, type Publisher, type PublisherCounters, startPublisher } from "./publisher.ts";

export type Outbound = {
  /** A stream was configured or deleted: which are published is looked at again. */
  wake: () => void;
  counters: () => PublisherCounters & { underWay: number; publishes: boolean };
  stop: () => Promise<void>;
};

export type OutboundOptions = {
  nats: Nats;
  leases: Pick<Leases, "want">;
  reads: Pool;
  writes: Pool;
  tail: Pick<Tail, "since" | "head" | "subscribe">;
  schemas: SchemaLinks;
  readLogId: () => Promise<string>;
  service: string;
  topology: "create" | "verify";
  checkIntervalMs: number;
  defaults: StreamDefaults;
  log: Log;
};

const bridgeLease = "bridge";
/** Streams that other processes have configured are found within this time. */
const lookMs = 1_000;
/** A crash makes whoever comes next ask about what was confirmed within this time. */
const noteMs = 100;
const noteAgainMs = 1_000;
const pagesReading = 4;

export function startOutbound(options: OutboundOptions): Outbound {
  const { nats, leases, log } = options;
  const counters: PublisherCounters = { published: 0, confirmed: 0, realigned: 0, withheld: 0 };
  let term: Term | null = null;
  let ended: Promise<void> = Promise.resolve();
  /** Who cannot reach NATS leaves it to the others. */
  let giveUp: (() => Promise<void>) | null = null;
  let changing: Promise<void> = Promise.resolve();
  let stopped = false;

  function end(): void {
    const mine = term;
    term = null;
    if (mine !== null) ended = mine.stop();
  }

  const want = () =>
    leases.want(bridgeLease, {
      onGained(lease, signal) {
        log.info({ epoch: lease.epoch }, "this process publishes to NATS");
        signal.addEventListener("abort", end, { once: true });
        // What was under way when the lease was lost comes to its end first.
        void ended.then(() => {
          if (!signal.aborted && !stopped) term = startTerm(lease, counters, options);
        });
      },
    });

  function follow(): void {
    changing = changing.then(async () => {
      const isWanted = nats.state() === "connected" && !stopped;
      if (isWanted && giveUp === null) giveUp = want();
      else if (!isWanted && giveUp !== null) {
        const mine = giveUp;
        giveUp = null;
        end();
        await ended;
        await mine();
      }
    });
  }
  const forget = nats.onState(follow);
  follow();

  return {
    wake: () => term?.wake(),
    counters: () => ({ ...counters, underWay: term?.underWay() ?? 0, publishes: term !== null }),
    async stop() {
      stopped = true;
      forget();
      follow();
      await changing;
      await ended;
    },
  };
}

type Term = { wake: () => void; underWay: () => number; stop: () => Promise<void> };

/** Publishes for as long as the lease is held. */
function startTerm(lease: HeldLease, counters: PublisherCounters, options: OutboundOptions): Term {
  const { reads, writes, tail, log } = options;
  const publishers = new Map<number, { published: string; stream: string; publisher: Publisher }>();
  const byStream = new Map<string, Publisher>();
  let offered = tail.head();
  const reader = createCandidateReader({
    tail,
    pool: reads,
    reads: createSemaphore(pagesReading),
    readEvents: (positions, maxBytes) => readPositionsWithin(reads, positions, maxBytes),
  });
  const told = new Map<number, string>();
  let noting: ReturnType<typeof setTimeout> | null = null;
  let writing: Promise<void> = Promise.resolve();
  /** The last note could not be written. */
  let isFailing = false;
  let isOver = false;

  const unsubscribe = tail.subscribe((batch) => {
    offered = batch.upTo;
    if (byStream.size > 0) for (const event of batch.events) byStream.get(event.stream)?.offer(event);
  });

  /** Notes what was confirmed and how it stands, soon and together. */
  function soon(): void {
    if (isOver) return;
    noting ??= setTimeout(
      () => {
        noting = null;
        writing = writing.then(note);
      },
      isFailing ? noteAgainMs : noteMs,
    );
  }

  async function note(): Promise<void> {
    const all = [...publishers];
    const taken = all.map(([, { publisher }]) => ({ publisher, cursor: publisher.takeCursor() }));
    const cursors = taken.flatMap(({ cursor }) => cursor ?? []);
    const states = all
      .map(([streamId, { publisher }]) => ({ streamId, ...publisher.state() }))
      .filter((state) => told.get(state.streamId) !== JSON.stringify(state));
    try {
      if (cursors.length > 0) await writeCursors(writes, lease, cursors, false);
      if (states.length > 0) await writeStates(writes, lease, states);
      for (const state of states) told.set(state.streamId, JSON.stringify(state));
      isFailing = false;
    } catch (error) {
      if (isLeaseLost(error)) return;
      for (const { publisher, cursor } of taken) if (cursor !== null) publisher.putBack();
      if (!isFailing) log.warn({ err: error }, "what is published could not be noted: it is tried again");
      isFailing = true;
      soon();
    }
  }

  async function remove(streamId: number): Promise<void> {
    const entry = publishers.get(streamId);
    if (entry === undefined) return;
    byStream.delete(entry.stream);
    await entry.publisher.stop();
    writing = writing.then(note);
    await writing;
    publishers.delete(streamId);
    told.delete(streamId);
  }

  let logId: string | null = null;
  async function look(signal: AbortSignal): Promise<void> {
    logId ??= await options.readLogId();
    const wanted = await readPublished(reads, options.service, options.defaults);
    const known = new Set(wanted.map(({ streamId }) => streamId));
    for (const streamId of [...publishers.keys()]) if (!known.has(streamId)) await remove(streamId);
    for (const published of wanted) {
      if (signal.aborted) return;
      if (publishers.get(published.streamId)?.published === JSON.stringify(published)) continue;
      await remove(published.streamId);
      start(published, logId);
    }
  }

  function start(published: Published, logId: string): void {
    const publisher = startPublisher(published, {
      ...options,
      pool: writes,
      lease,
      logId,
      reader,
      offered: () => offered,
      counters,
      writing: () => writing,
      onChanged: soon,
    });
    publishers.set(published.streamId, { published: JSON.stringify(published), stream: published.stream, publisher });
    byStream.set(published.stream, publisher);
  }

  const loop: Loop = startLoop("published streams", lookMs, look, log);
  return {
    wake: loop.wake,
    underWay: () => [...publishers.values()].reduce((sum, { publisher }) => sum + publisher.underWay(), 0),
    async stop() {
      unsubscribe();
      isOver = true;
      await loop.stop();
      await Promise.all([...publishers.values()].map(({ publisher }) => publisher.stop()));
      if (noting !== null) clearTimeout(noting);
      await writing;
      // Whoever comes next has less to find out.
      await note();
    },
  };
}
