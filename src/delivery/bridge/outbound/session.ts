// Publishes one stream from a known place on, many messages under way at once: each says what JetStream's last sequence must be.

import type { StoredEvent } from "../../../stream/event.ts";
import {
  type Confirmation,
  MessageTooLarge,
  messageTooLarge,
  type Nats,
  NatsUnavailable,
  noStream,
  type Publisher,
  wrongLastId,
  wrongLastSequence,
} from "../jetstream.ts";
import type { Feed } from "./feed.ts";
import { watchIdle } from "./idle-watch.ts";
import { headerValue, type Message } from "./message.ts";

/** Offsets from one to another, both included. */
export type Offsets = { from: number; upTo: number };

/** Why it ended; `known`: JetStream knows the id of the first of these, though it does not have the event any more. */
export type Ending =
  | { kind: "misaligned"; reason: string; known: Offsets | null }
  /** It was seen while nothing was published. */
  | { kind: "changed"; reason: string }
  | { kind: "refused"; reason: string }
  | { kind: "silent" }
  | { kind: "disconnected" };

export type SessionOptions = {
  nats: Pick<Nats, "openPublisher" | "onState" | "findStream">;
  /** The JetStream stream, when it was made, and its last sequence. */
  jetstream: string;
  created: string;
  sequence: number;
  /** The last offset that is published. */
  offset: number;
  feed: Feed;
  subjectOf: (event: StoredEvent) => string;
  messageOf: (event: StoredEvent) => Message;
  /** JetStream knows ids of these, and would pass over the events: their messages get other ids. */
  renamed: Offsets | null;
  withheld: ReadonlySet<number>;
  /** In order; everything up to the event is published. */
  onConfirmed: (event: StoredEvent, sequence: number) => void;
  onPublished: () => void;
  /** The server does not take the event; resolves when that is noted. */
  withhold: (event: StoredEvent, reason: string) => Promise<void>;
  /** Offsets up to this one do not exist any more; everything before them is confirmed. Resolves when that is noted. */
  onGap: (upTo: number) => Promise<void>;
  /** Time without an answer, in milliseconds. */
  silenceMs: number;
  /** How often JetStream is looked at while nothing is published, in milliseconds. */
  checkIntervalMs: number;
};

type UnderWay = { event: StoredEvent; bytes: number };

const maxUnderWay = 1_000;
const maxBytesUnderWay = 8_000_000;

/** Publishes until something ends it. Rejects with the signal's reason, and with what noting and reading meet. */
export async function publishFrom(options: SessionOptions, signal: AbortSignal): Promise<Ending> {
  const { nats, jetstream, feed } = options;
  const stop = new AbortController();
  const leave = () => stop.abort(signal.reason);
  signal.addEventListener("abort", leave, { once: true });
  if (signal.aborted) leave();
  let ending: Ending | null = null;
  let { sequence, offset } = options;
  /** Those that are not confirmed, oldest first, from `first` on. */
  let underWay: UnderWay[] = [];
  let first = 0;
  let bytesUnderWay = 0;
  /** Of the message before, if this session has published one: a server that was started again knows it for a while only. */
  let lastId: string | null = null;
  let numbered = 0;
  let confirmed = 0;
  let wake: (() => void) | null = null;
  /** When the last answer came, or what is under way began. */
  let heardMs = 0;
  /** Too large for its stream, as the server says: noted before the session ends. */
  let tooLarge: StoredEvent | null = null;

  function end(reason: Ending): void {
    if (ending !== null) return;
    ending = reason;
    stop.abort(new Error("the session has ended"));
    wake?.();
  }

  function onAnswer(number: number, answer: Confirmation): void {
    if (ending !== null) return;
    const oldest = underWay[first];
    const expected = options.sequence + confirmed + 1;
    if (oldest === undefined || number !== confirmed) {
      end({ kind: "misaligned", reason: "an answer came out of order", known: null });
    } else if ("code" in answer) {
      if (answer.code === messageTooLarge) tooLarge = oldest.event;
      const isMisaligned = [messageTooLarge, wrongLastSequence, wrongLastId, noStream].includes(answer.code);
      end(
        isMisaligned
          ? { kind: "misaligned", reason: answer.message, known: null }
          : { kind: "refused", reason: answer.message },
      );
    } else if (answer.sequence !== expected) {
      const reason = `it has sequence ${answer.sequence}, not ${expected}`;
      // Those behind it that are under way may be known too: not to be found out one by one.
      end({ kind: "misaligned", reason, known: answer.duplicate ? { from: oldest.event.offset, upTo: offset } : null });
    } else {
      confirmed++;
      heardMs = performance.now();
      bytesUnderWay -= oldest.bytes;
      if (++first === maxUnderWay) {
        underWay = underWay.slice(first);
        first = 0;
      }
      options.onConfirmed(oldest.event, answer.sequence);
      if (wake !== null && hasRoom()) wake();
    }
  }

  function onRefused(subject: string | null, reason: string): void {
    const isMine = subject === null || underWay.slice(first).some(({ event }) => options.subjectOf(event) === subject);
    if (isMine) end({ kind: "refused", reason });
  }

  // Half of the window at once: a wake-up for each answer would cost more than the message.
  const hasRoom = () => numbered - confirmed <= maxUnderWay / 2 && bytesUnderWay <= maxBytesUnderWay / 2;

  const isOn = () => ending === null && !stop.signal.aborted;

  const answered = () =>
    new Promise<void>((resolve) => {
      wake = () => {
        wake = null;
        resolve();
      };
      if (!isOn()) wake();
    });

  /** Waits until everything is confirmed. */
  async function drain(): Promise<void> {
    while (numbered !== confirmed && isOn()) await answered();
  }

  let publisher: Publisher;
  try {
    publisher = nats.openPublisher({ onConfirmed: onAnswer, onRefused });
  } catch (error) {
    signal.removeEventListener("abort", leave);
    throw error;
  }
  const forget = nats.onState((state) => {
    if (state !== "connected") end({ kind: "disconnected" });
  });
  stop.signal.addEventListener("abort", () => wake?.(), { once: true });

  async function publish(event: StoredEvent): Promise<void> {
    if (event.offset > offset + 1 && !allWithheld(options.withheld, offset + 1, event.offset - 1)) {
      await drain();
      if (!isOn()) return;
      await options.onGap(event.offset - 1);
    }
    offset = event.offset;
    if (options.withheld.has(event.offset)) return;
    if (numbered - confirmed >= maxUnderWay || bytesUnderWay >= maxBytesUnderWay) {
      await answered();
      if (!isOn()) return;
    }
    const { headers, data } = options.messageOf(event);
    // Its place is new each time, and so is the id.
    const id = headerValue(includes(options.renamed, event.offset) ? `${event.id}@${sequence + 1}` : event.id);
    headers.push(["Nats-Msg-Id", id]);
    headers.push(["Nats-Expected-Stream", jetstream]);
    headers.push(["Nats-Expected-Last-Sequence", String(sequence)]);
    // By the sequence alone, a stranger's message would take the place of one of ours, and those behind it would fit again.
    if (lastId !== null) headers.push(["Nats-Expected-Last-Msg-Id", lastId]);
    try {
      publisher.publish(numbered, options.subjectOf(event), headers, data);
    } catch (error) {
      if (error instanceof NatsUnavailable) return end({ kind: "disconnected" });
      if (!(error instanceof MessageTooLarge)) throw error;
      return options.withhold(event, error.message);
    }
    if (numbered === confirmed) heardMs = performance.now();
    lastId = id;
    sequence++;
    numbered++;
    bytesUnderWay += data.length;
    underWay.push({ event, bytes: data.length });
    options.onPublished();
  }

  try {
    const watch = setInterval(() => {
      if (numbered !== confirmed && performance.now() - heardMs > options.silenceMs) end({ kind: "silent" });
    }, options.silenceMs / 5);
    const watching = watchIdle(
      {
        find: () => nats.findStream(jetstream),
        created: options.created,
        confirmed: () => (numbered === confirmed ? sequence : null),
        everyMs: options.checkIntervalMs,
      },
      stop.signal,
    ).then((reason) => reason !== null && end({ kind: "changed", reason }));
    try {
      while (isOn()) {
        const events = await feed.read(stop.signal);
        for (const event of events) {
          if (!isOn()) break;
          if (event.offset > offset) await publish(event);
        }
      }
    } catch (error) {
      if (ending === null) throw error;
    } finally {
      clearInterval(watch);
      stop.abort(new Error("the session has ended"));
      await watching;
    }
    signal.throwIfAborted();
    if (tooLarge !== null) await options.withhold(tooLarge, "it is larger than its JetStream stream allows");
    return ending ?? { kind: "disconnected" };
  } finally {
    forget();
    signal.removeEventListener("abort", leave);
    publisher.close();
  }
}

const includes = (offsets: Offsets | null, offset: number) =>
  offsets !== null && offset >= offsets.from && offset <= offsets.upTo;

function allWithheld(withheld: ReadonlySet<number>, from: number, to: number): boolean {
  for (let offset = from; offset <= to; offset++) if (!withheld.has(offset)) return false;
  return true;
}
