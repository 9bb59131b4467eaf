// What the consumers of a read-receipt subscription have not read: listed, counted, and read.
import { consumerNotFound, noReceipts } from "../../base/errors.ts";
import { everyone } from "../../base/principal.ts";
import { classify } from "../../storage/pg-errors.ts";
import type { Pool, Sql } from "../../storage/pool.ts";
import { type StoredEvent, sizeOf } from "../../stream/event.ts";
import { findIds, keepIds, keepVisible, scanMatches } from "../../stream/matches.ts";
import { readPage, readPositions } from "../../stream/page.ts";
import { readStreamStarts } from "../../stream/stream-head.ts";
import type { Endings } from "../ledger/endings.ts";
import { type Subscription, selectionOf } from "../registry/subscription.ts";
import { findEntitlement } from "./entitlement.ts";
import { callReceiptRead, callReceiptReadUpTo, callUnreadHeld, keepUnread } from "./receipt-calls.ts";

/** What a consumer says that it has read: events by their ids, everything up to a position, or everything. */
export type Reading = { ids: readonly string[] } | { upTo: number } | "all";

export type UnreadPage = {
  events: StoredEvent[];
  /** What the next page goes on behind; null when this was the last one. */
  next: number | null;
};

/** `atLeast`: there are more, which were not counted. */
export type UnreadCount = { count: number; atLeast: boolean };

export type Receipts = {
  /** What the consumer is entitled to and has not read, in the order of the log. Throws `consumer-not-found`, `no-receipts`. */
  unread: (
    subscription: Subscription,
    consumer: string,
    options: { after: number; limit: number; signal: AbortSignal },
  ) => Promise<UnreadPage>;
  count: (subscription: Subscription, consumer: string, signal: AbortSignal) => Promise<UnreadCount>;
  /** Returns how many events were unread and are read now. Throws `consumer-not-found`, `no-receipts`. */
  read: (subscription: Subscription, consumer: string, what: Reading, signal: AbortSignal) => Promise<number>;
  counters: () => { read: number };
};

export type ReceiptsOptions = {
  reads: Pool;
  claims: Pool;
  /** The last position that is committed. */
  readHead: () => Promise<number>;
  endings: Pick<Endings, "isNoted" | "note" | "review">;
  /** The subscription of this name as it is configured now. */
  reload: (name: string) => Promise<Subscription | null>;
  /** What was handed out under this cursor is read: its consumer has credit again. */
  onRead: (cursor: number) => void;
};

const countedAtMost = 10_000;
const budgetMs = 1_000;
const maxAttempts = 4;
/** Events that are read from the log at once, and bytes of a page, unless one event alone is larger. */
const pieceEvents = 50;
const pageBytes = 2_000_000;

export function createReceipts(options: ReceiptsOptions): Receipts {
  const { reads, claims, readHead, endings, onRead } = options;
  const counters = { read: 0 };

  async function cursorOf(subscription: Subscription, consumer: string): Promise<number> {
    if (subscription.mode !== "read-receipt") throw noReceipts(subscription.name, subscription.mode);
    const rows = await reads.run(
      (sql) => sql<{ id: string }[]>`
        select id from subscription_cursors where subscription_id = ${subscription.id} and consumer = ${consumer}`,
    );
    if (rows[0] === undefined) throw consumerNotFound(subscription.name, consumer);
    return Number(rows[0].id);
  }

  async function streamIdsOf({ streams }: Subscription): Promise<number[] | null> {
    if (streams === null) return null;
    return (await reads.run((sql) => readStreamStarts(sql, streams))).map((start) => start.id);
  }

  const held = (cursor: number, after: number, limit: number) =>
    reads.run((sql) => callUnreadHeld(sql, cursor, after, limit));
  const read = (cursor: number, positions: readonly number[]) =>
    change((sql) => callReceiptRead(sql, cursor, positions));

  /** Tries a few times what was rolled back for a passing reason: acknowledgements lock the same rows in another order. */
  async function change<T>(task: (sql: Sql) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await claims.run(task);
      } catch (error) {
        if (classify(error).kind !== "retry" || attempt === maxAttempts) throw error;
      }
    }
  }

  /** What is gone from the log cannot be read any more, and holds nothing up. */
  async function dropGone(cursor: number, before: readonly number[], visible: readonly number[]): Promise<void> {
    if (visible.length === before.length) return;
    const there = new Set(visible);
    await read(
      cursor,
      before.filter((position) => !there.has(position)),
    );
  }

  async function findUnread(
    subscription: Subscription,
    cursor: number,
    ids: readonly string[],
  ): Promise<readonly number[]> {
    // Most are among what was delivered lately; only for the others the log is searched.
    const { positions } = await held(cursor, -1, countedAtMost);
    const found = await keepIds(reads, positions, ids);
    const known = new Set(found.map(({ id }) => id));
    const others = ids.filter((id) => !known.has(id));
    const elsewhere =
      others.length === 0
        ? []
        : await findIds(reads, selectionOf(subscription), await streamIdsOf(subscription), others, await readHead());
    return [...found.map(({ position }) => position), ...elsewhere];
  }

  async function readUpTo(
    subscription: Subscription,
    cursor: number,
    wanted: number,
    signal: AbortSignal,
  ): Promise<number> {
    const selection = selectionOf(subscription);
    const streamIds = await streamIdsOf(subscription);
    let { place } = await held(cursor, -1, 1);
    const entitled = await findEntitlement(reads, endings, subscription, streamIds, {
      cursor,
      place,
      head: wanted,
      signal,
    });
    const upTo = Math.min(wanted, entitled.upTo);
    if (entitled.isEnd && upTo === entitled.upTo) {
      const noted = await endings.note(cursor, subscription.revision, upTo);
      if (noted !== "ok") {
        // It may end with other types now.
        const now = await options.reload(subscription.name);
        return now === null || noted === "gone" || now.revision === subscription.revision
          ? 0
          : readUpTo(now, cursor, wanted, signal);
      }
    }
    for (let count = 0; ; ) {
      const matches = await scanMatches(reads, {
        selection,
        streamIds,
        after: place,
        bound: Math.max(upTo, place),
        limit: countedAtMost,
        budgetMs,
        signal,
      });
      const outcome = await change((sql) => callReceiptReadUpTo(sql, cursor, upTo, place, matches));
      count += outcome.read;
      if (outcome.place === null || outcome.place >= upTo) return count;
      place = outcome.place;
    }
  }

  return {
    async unread(subscription, consumer, { after, limit, signal }) {
      const cursor = await cursorOf(subscription, consumer);
      const page: Page = { events: [], bytes: 0, limit };
      const { positions, place } = await held(cursor, after, limit + 1);
      for (let n = 0; n < positions.length; n += pieceEvents) {
        const piece = positions.slice(n, n + pieceEvents);
        const visible = await readPositions(reads, piece);
        await dropGone(cursor, piece, positionsOf(visible));
        for (const event of visible) if (!add(page, event)) return { events: page.events, next: lastOf(page) };
      }
      // There may be more that is handed out or delivered, behind what is gone.
      if (positions.length > limit) return { events: page.events, next: positions.at(-1) as number };
      if (isFull(page)) return { events: page.events, next: lastOf(page) };
      const from = Math.max(after, place);
      const head = await readHead();
      const streamIds = await streamIdsOf(subscription);
      const { upTo } = await findEntitlement(reads, endings, subscription, streamIds, { cursor, place, head, signal });
      const beyond = await readPage(reads, {
        selection: selectionOf(subscription),
        streamIds,
        principal: everyone,
        direction: "forward",
        cursor: from,
        bound: Math.max(from, upTo),
        limit: limit - page.events.length,
        maxBytes: pageBytes - page.bytes,
        historyEnd: -1,
        budgetMs,
        signal,
      });
      const found = positionsOf(beyond.events);
      const unread = new Set(await reads.run((sql) => keepUnread(sql, cursor, found)));
      page.events.push(...beyond.events.filter((event) => unread.has(event.position)));
      return { events: page.events, next: beyond.done ? null : beyond.reached };
    },
    async count(subscription, consumer, signal) {
      const cursor = await cursorOf(subscription, consumer);
      const { positions, place } = await held(cursor, -1, countedAtMost + 1);
      const visible = await keepVisible(reads, positions);
      await dropGone(cursor, positions, visible);
      if (visible.length > countedAtMost) return { count: countedAtMost, atLeast: true };
      const head = await readHead();
      const streamIds = await streamIdsOf(subscription);
      const entitled = await findEntitlement(reads, endings, subscription, streamIds, { cursor, place, head, signal });
      const bound = entitled.upTo;
      const matches = await scanMatches(reads, {
        selection: selectionOf(subscription),
        streamIds,
        after: place,
        bound,
        limit: countedAtMost + 1 - visible.length,
        budgetMs,
        signal,
      });
      const unread = await reads.run((sql) => keepUnread(sql, cursor, matches.positions));
      const count = visible.length + unread.length;
      return { count: Math.min(count, countedAtMost), atLeast: count > countedAtMost || matches.reached < bound };
    },
    async read(subscription, consumer, what, signal) {
      const cursor = await cursorOf(subscription, consumer);
      let count: number;
      if (what !== "all" && "ids" in what) count = await read(cursor, await findUnread(subscription, cursor, what.ids));
      else {
        const head = await readHead();
        count = await readUpTo(subscription, cursor, what === "all" ? head : Math.min(what.upTo, head), signal);
      }
      counters.read += count;
      if (subscription.terminal !== null) await endings.review([cursor]);
      onRead(cursor);
      return count;
    },
    counters: () => counters,
  };
}

/** What has been gathered for one answer. */
type Page = { events: StoredEvent[]; bytes: number; limit: number };

const isFull = ({ events, bytes, limit }: Page) => events.length >= limit || bytes >= pageBytes;
const lastOf = ({ events }: Page) => events.at(-1)?.position ?? null;
const positionsOf = (events: readonly StoredEvent[]) => events.map((event) => event.position);

/** False when the page is full already. */
function add(page: Page, event: StoredEvent): boolean {
  if (isFull(page)) return false;
  page.events.push(event);
  page.bytes += sizeOf(event);
  return true;
}
