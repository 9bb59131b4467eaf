// Wakes the other processes on the database after a commit, by NOTIFY, and is woken by them, by LISTEN.
import { randomUUID } from "node:crypto";
import type { Log } from "../base/log.ts";
import type { Sql } from "./pool.ts";

export type Wake = {
  start: () => Promise<void>;
  /** Tells the others that the log reaches at least to this position; calls within a moment become one notification. */
  send: (position: number) => void;
  /** Tells the others that something can be handed out under these cursors, or that their consumers have credit again. */
  sendCursors: (cursors: Iterable<number>) => void;
  /** Tells the others that the schema registry has changed. */
  sendSchemas: () => void;
  /** Tells the others that what flows on these live connections has changed. */
  sendLive: (ids: Iterable<string>) => void;
  /** Tells the others that something was decided about a projection. */
  sendProjections: () => void;
  /** Tells the others that the outbox has new rows. */
  sendOutbox: () => void;
  /** Asks the others to take turns on a stream. */
  sendContended: (stream: string) => void;
  stop: () => Promise<void>;
};

export type WakeOptions = {
  connect: () => Sql;
  /** Of one schema of the database. */
  channel: string;
  /** A position that another process announced; Infinity after a (re)connect, when notifications may have been missed. */
  onWake: (position: number) => void;
  /** Cursors that another process announced; null after a (re)connect, or when there were too many to name. */
  onCursors: (cursors: readonly number[] | null) => void;
  /** Live connections that another process announced; null as for cursors. */
  onLive: (ids: readonly string[] | null) => void;
  /** The schema registry has changed, or may have. */
  onSchemas: () => void;
  /** Something was decided about a projection, or may have been. */
  onProjections: () => void;
  /** The outbox has new rows. */
  onOutbox: () => void;
  /** Streams on which another process asks to take turns. */
  onContended: (streams: readonly string[]) => void;
  log: Log;
};

const coalesceMs = 10;
// A notification has less than 8,000 bytes.
const maxNamedCursors = 250;
const maxNamedLive = 80;
/** What somebody who inserts into the outbox may announce; not one of the service's processes. */
const outboxHint = "outbox";
const maxNamedStreams = 35;
// A half-open connection says nothing: without hearing itself for this long, the listener connects anew.
const pingMs = 5_000;
const deafMs = 12_000;

export function createWake(options: WakeOptions): Wake {
  const { connect, channel, onWake, onCursors, onLive, onSchemas, onProjections, onOutbox, onContended, log } = options;
  const handlers = { s: onSchemas, o: onOutbox, p: onProjections };
  const self = randomUUID();
  let sql: Sql | null = null;
  let pending: number | null = null;
  let cursors = new Set<number>();
  let live = new Set<string>();
  /** What has happened, by its sign. */
  let signs = new Set<keyof typeof handlers>();
  let contended = new Set<string>();
  let timer: ReturnType<typeof setTimeout> | null = null;
  let sending: Promise<unknown> = Promise.resolve();
  let heardAt = Date.now();
  let pinger: ReturnType<typeof setInterval> | null = null;
  let stopped = false;

  function onNotification(payload: string): void {
    heardAt = Date.now();
    if (payload === outboxHint) onOutbox();
    const [sender, position, cursorList = "-", liveList = "-", happened = "-", streams = "-"] = payload.split(" ");
    if (sender === self) return;
    if (position !== undefined && position !== "-1") onWake(Number(position));
    if (cursorList !== "-") onCursors(cursorList === "*" ? null : cursorList.split(",").map(Number));
    if (liveList !== "-") onLive(liveList === "*" ? null : liveList.split(","));
    for (const sign of happened) handlers[sign as keyof typeof handlers]?.();
    if (streams !== "-") onContended(streams.split(","));
  }

  async function listen(): Promise<void> {
    const mine = connect();
    sql = mine;
    await mine.listen(channel, onNotification, () => {
      heardAt = Date.now();
      // What was announced while nobody listened is lost: the head has to be looked at.
      onWake(Number.POSITIVE_INFINITY);
      onCursors(null);
      onLive(null);
      onSchemas();
      onProjections();
    });
  }

  async function reconnect(): Promise<void> {
    const old = sql;
    heardAt = Date.now();
    await old?.end({ timeout: 0 }).catch(() => {});
    if (!stopped) await listen();
  }

  function notify(payload: string): Promise<unknown> {
    const mine = sql;
    if (mine === null) return Promise.resolve();
    // A wake-up is a hint: losing one costs the others a poll, never an event.
    return mine.notify(channel, payload).catch((error: unknown) => log.debug({ err: error }, "a wake-up was lost"));
  }

  const isAnyPending = () =>
    pending !== null || cursors.size > 0 || live.size > 0 || signs.size > 0 || contended.size > 0;

  function flush(): void {
    timer = null;
    if (!isAnyPending()) return;
    const payload = [
      self,
      pending ?? -1,
      listOf(cursors, maxNamedCursors),
      listOf(live, maxNamedLive),
      signs.size > 0 ? [...signs].join("") : "-",
    ].join(" ");
    pending = null;
    cursors = new Set();
    live = new Set();
    signs = new Set();
    // Names are long: they travel apart. Who is not named now is named again, if it is still too late.
    const named = contended.size === 0 ? null : [...contended].slice(0, maxNamedStreams).join(",");
    contended = new Set();
    const apart = named === null ? null : notify(`${self} -1 - - - ${named}`);
    sending = Promise.all([notify(payload), apart]).then(() => {
      if (isAnyPending()) schedule();
    });
  }

  function schedule(): void {
    if (timer === null && !stopped) timer = setTimeout(flush, coalesceMs);
  }

  return {
    async start() {
      await listen();
      pinger = setInterval(() => {
        if (Date.now() - heardAt > deafMs) {
          log.warn("the listener hears nothing; it connects anew");
          reconnect().catch((error: unknown) => log.warn({ err: error }, "the listener cannot connect"));
        } else void notify(self);
      }, pingMs);
    },
    send(position) {
      pending = Math.max(pending ?? -1, position);
      schedule();
    },
    sendCursors(announced) {
      for (const cursor of announced) cursors.add(cursor);
      schedule();
    },
    sendSchemas() {
      signs.add("s");
      schedule();
    },
    sendProjections() {
      signs.add("p");
      schedule();
    },
    sendOutbox() {
      signs.add("o");
      schedule();
    },
    sendLive(ids) {
      for (const id of ids) live.add(id);
      schedule();
    },
    sendContended(stream) {
      contended.add(stream);
      schedule();
    },
    async stop() {
      stopped = true;
      if (timer) clearTimeout(timer);
      if (pinger) clearInterval(pinger);
      // A wake-up on a half-open connection gets no answer: ending the connection gives it up.
      const ended = sql?.end({ timeout: 1 }).catch(() => {});
      await Promise.all([sending, ended]);
    },
  };
}

function listOf(names: ReadonlySet<number | string>, max: number): string {
  if (names.size === 0) return "-";
  return names.size > max ? "*" : [...names].join(",");
}
