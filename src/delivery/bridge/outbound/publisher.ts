// Publishes one stream for as long as this process is the one that does: aligned with JetStream first, again whenever the two differ.
import type { Log } from "../../../base/log.ts";
import { pause } from "../../../base/pause.ts";
import { type HeldLease, isLeaseLost } from "../../../storage/lease.ts";
import type { Pool } from "../../../storage/pool.ts";
import { subjectOf } from "../../../stream/cross-service/names.ts";
import type { SchemaLinks, StoredEvent } from "../../../stream/event.ts";
import type { CandidateReader } from "../../../subscription/ledger/candidates.ts";
import { createBackoff } from "../backoff.ts";
import { type Nats, NatsUnavailable } from "../jetstream.ts";
import { askedUntil } from "../questions.ts";
import { findLast, type Place, placeOf } from "./alignment.ts";
import { type Cursor, positionOf, readCursor, writeCursors, writeWithheld } from "./cursor.ts";
import { createFeed, type Feed } from "./feed.ts";
import { type Mode, messageOf } from "./message.ts";
import { type Ending, type Offsets, publishFrom } from "./session.ts";
import { nextState, type PublishingEvent, type PublishingState } from "./state.ts";
import { ensureStream, type Wanted } from "./topology.ts";

export type Published = {
  streamId: number;
  stream: string;
  subject: string;
  mode: Mode;
  wanted: Wanted;
};

export type PublisherCounters = { published: number; confirmed: number; realigned: number; withheld: number };

export type Publisher = {
  offer: (event: StoredEvent) => void;
  /** What is confirmed and not noted yet. */
  takeCursor: () => Cursor | null;
  /** What was taken could not be noted. */
  putBack: () => void;
  state: () => { state: PublishingState; error: string | null; since: string };
  /** Messages that are not confirmed. */
  underWay: () => number;
  stop: () => Promise<void>;
};

export type PublisherOptions = {
  nats: Nats;
  pool: Pool;
  lease: HeldLease;
  logId: string;
  topology: "create" | "verify";
  /** How often JetStream is looked at while nothing is published, in milliseconds. */
  checkIntervalMs: number;
  schemas: SchemaLinks;
  reader: Pick<CandidateReader, "read">;
  /** Everything up to here was offered by the tail. */
  offered: () => number;
  counters: PublisherCounters;
  /** What is being noted of all publishers. */
  writing: () => Promise<void>;
  /** Something was confirmed, or the state has changed. */
  onChanged: () => void;
  log: Log;
};

const firstPauseMs = 100;
const longestPauseMs = 5_000;
const silenceMs = 5_000;

type Aligned = { place: Place; cursor: Cursor; withheld: Set<number>; warning: string | null };

export function startPublisher(published: Published, options: PublisherOptions): Publisher {
  const { pool, lease, logId, counters, onChanged } = options;
  const { streamId, stream, wanted } = published;
  const log = options.log.child({ stream, jetstream: wanted.name });
  const backoff = createBackoff({ initialMs: firstPauseMs, maxMs: longestPauseMs });
  const abort = new AbortController();
  const nats = askedUntil(options.nats, abort.signal);
  let state: PublishingState = "waiting";
  let error: string | null = null;
  let since = new Date().toISOString();
  let feed: Feed | null = null;
  let cursor: Cursor | null = null;
  let isNoted = true;
  let underWay = 0;
  /** Events whose ids JetStream knows, although they were not there when it was asked. */
  let renamed: Offsets | null = null;
  /** Logs whose messages were found among ours; told once each. */
  const otherLogs = new Set<string>();
  /** What has held up the messages behind an offset: that it is over shows when JetStream has one of them, and not before. */
  let unproven: { reason: string; behind: number } | null = null;

  function enter(event: PublishingEvent, reason: string | null): void {
    const next = nextState(state, event);
    if (next === state && reason === error) return;
    if (next !== state) since = new Date().toISOString();
    if (reason !== null && reason !== error) log.warn({ state: next, reason }, "publishing to NATS is held up");
    else if (error !== null && reason === null && next === "publishing") log.info("publishing to NATS goes on");
    state = next;
    error = reason;
    onChanged();
  }

  async function align(): Promise<Aligned> {
    const { stream: jetstream, unchanged } = await ensureStream(nats, wanted, options.topology);
    await noteLast();
    const { cursor: noted, withheld } = await readCursor(pool, streamId, jetstream);
    const ask = (sequence: number) => nats.message(wanted.name, sequence);
    const { offset: last, otherLog } = await findLast(jetstream, noted, { stream, logId }, ask, abort.signal);
    if (otherLog !== null) warnOf(otherLog);
    const place = placeOf(jetstream, noted, last, logId, withheld);
    const { offset, sequence } = place;
    const known = noted !== null && noted.offset <= offset ? noted.position : -1;
    const position = offset === noted?.offset ? noted.position : ((await positionOf(pool, streamId, offset)) ?? known);
    const aligned: Cursor = {
      streamId,
      jetstream: wanted.name,
      created: jetstream.created,
      sequence,
      offset,
      position,
      logId,
    };
    // Noted before anything is published behind it: whoever comes next counts from here.
    await writeCursors(pool, lease, [aligned], true);
    if (noted !== null && noted.created !== jetstream.created && noted.jetstream === wanted.name)
      log.warn(
        { created: jetstream.created, before: noted.created },
        "the JetStream stream was made anew: it is filled again",
      );
    log.info({ offset, sequence, anew: place.anew }, "aligned with JetStream");
    // Another JetStream stream may have room for what the last one did not take.
    return { place, cursor: aligned, withheld: new Set(place.anew ? [] : withheld), warning: unchanged };
  }

  function warnOf(otherLog: string): void {
    if (otherLogs.has(otherLog)) return;
    otherLogs.add(otherLog);
    log.warn(
      { logId: otherLog, own: logId },
      "the newest messages of the JetStream stream are of another log: another service with this name publishes there, or this database was restored from a backup or is a copy",
    );
  }

  /** Notes up to where the last session came, behind all notes that are under way; until the next session there are no others. */
  async function noteLast(): Promise<void> {
    const last = cursor;
    cursor = null;
    try {
      await options.writing();
      if (last !== null) await writeCursors(pool, lease, [last], false);
    } catch (thrown) {
      cursor = last;
      isNoted = false;
      throw thrown;
    }
  }

  function takeCursor(): Cursor | null {
    if (isNoted || cursor === null) return null;
    isNoted = true;
    return cursor;
  }

  async function publish({ place, cursor: from, withheld, warning }: Aligned): Promise<Ending> {
    cursor = from;
    isNoted = true;
    underWay = 0;
    feed = createFeed(stream, from.position, options);
    try {
      return await publishFrom(
        {
          nats,
          jetstream: wanted.name,
          created: from.created,
          sequence: place.sequence,
          offset: place.offset,
          feed,
          subjectOf: (event) => subjectOf(published.subject, event.type),
          messageOf: (event) => messageOf(event, published.mode, logId, options.schemas),
          renamed,
          withheld,
          onPublished() {
            underWay++;
            counters.published++;
          },
          onConfirmed({ offset, position }, sequence) {
            underWay--;
            counters.confirmed++;
            cursor = { ...from, offset, position, sequence };
            prove(warning);
            if (isNoted) {
              isNoted = false;
              onChanged();
            }
          },
          async withhold(event, reason) {
            await writeWithheld(pool, lease, streamId, event, reason);
            withheld.add(event.offset);
            // What held it up does so no more; those behind it may go on.
            prove(warning);
            counters.withheld++;
            log.warn({ offset: event.offset, id: event.id, reason }, "an event is withheld from NATS");
          },
          async onGap(upTo) {
            cursor = { ...(cursor ?? from), offset: upTo };
            isNoted = true;
            await writeCursors(pool, lease, [cursor], false);
          },
          silenceMs,
          checkIntervalMs: options.checkIntervalMs,
        },
        abort.signal,
      );
    } finally {
      feed = null;
      underWay = 0;
    }
  }

  function prove(warning: string | null): void {
    if (unproven === null) return;
    unproven = null;
    enter("confirmed", warning);
  }

  function holdUp(event: PublishingEvent, reason: string): void {
    unproven = { reason, behind: cursor?.offset ?? -1 };
    enter(event, reason);
  }

  async function attempt(): Promise<void> {
    try {
      const aligned = await align();
      if (unproven !== null && aligned.place.offset > unproven.behind) unproven = null;
      enter("aligned", unproven?.reason ?? aligned.warning);
      const ending = await publish(aligned);
      const isOnward = cursor !== null && cursor.offset > aligned.place.offset;
      if (isOnward) backoff.reset();
      counters.realigned++;
      renamed = ending.kind === "misaligned" ? ending.known : null;
      if (ending.kind === "misaligned") {
        log.info({ reason: ending.reason }, "JetStream has something else than was thought");
        enter(isOnward ? "misaligned" : "stuck", isOnward ? null : ending.reason);
      } else if (ending.kind === "changed") {
        log.info({ reason: ending.reason }, "JetStream was changed while nothing was published");
        enter("misaligned", unproven?.reason ?? null);
      } else if (ending.kind === "refused") holdUp("refused", ending.reason);
      else if (ending.kind === "silent") holdUp("silent", "JetStream does not answer");
      else enter("disconnected", nats.lastError() ?? "not connected to NATS");
    } catch (thrown) {
      if (abort.signal.aborted) return;
      // Whoever holds the lease now goes on; this process hears of it in a moment.
      if (isLeaseLost(thrown)) return enter("refused", "another process publishes");
      const reason = thrown instanceof Error ? thrown.message : String(thrown);
      if (nats.state() !== "connected") enter("disconnected", reason);
      else enter(thrown instanceof NatsUnavailable ? "silent" : "refused", reason);
    }
  }

  async function run(): Promise<void> {
    while (!abort.signal.aborted) {
      if (state === "waiting") {
        if (nats.state() === "connected") enter("connected", null);
        else await changed();
      } else if (state === "pausing") {
        await pause(backoff.nextMs(), abort.signal);
        enter("elapsed", error);
      } else await attempt();
    }
  }

  /** Resolves when the connection's state has changed, or this ends. */
  const changed = () =>
    new Promise<void>((resolve) => {
      const done = () => {
        forget();
        abort.signal.removeEventListener("abort", done);
        resolve();
      };
      const forget = nats.onState(done);
      abort.signal.addEventListener("abort", done, { once: true });
    });

  const running = run();
  return {
    offer: (event) => feed?.offer(event),
    takeCursor,
    putBack() {
      if (cursor !== null) isNoted = false;
    },
    state: () => ({ state, error, since }),
    underWay: () => underWay,
    async stop() {
      abort.abort(new Error("publishing ends"));
      await running;
    },
  };
}
