// Mirrors one remote stream over one consumer, from where the mirror stands, until something is not as it must be.
import type { Log } from "../../../base/log.ts";
import type { Pool } from "../../../storage/pool.ts";
import type { Appender } from "../../../stream/append.ts";
import type { Naming } from "../../../stream/cross-service/names.ts";
import { advanceMirror, isMoved } from "../../../stream/remote/move.ts";
import { forgetFormer, type RemoteStream } from "../../../stream/remote/remote-streams.ts";
import { forbidden, type Nats, type NatsConsumer, type PullStatus, type ReceivedMessage } from "../jetstream.ts";
import { align, locate } from "./alignment.ts";
import type { Entry, MirrorPlace } from "./batch.ts";
import { takeAwayConsumer } from "./consumer.ts";
import { createInHand, type Held } from "./in-hand.ts";
import { type ReadContext, type ReadSettings, readMessage } from "./message.ts";
import { readPlace, type Stored, storeEntries } from "./storing.ts";

export type SessionOptions = {
  nats: Nats;
  pool: Pool;
  appender: Pick<Appender, "append">;
  naming: Naming;
  context: ReadSettings;
  log: Log;
  /** In milliseconds; by default the clock of the process. */
  now?: () => number;
};

/** What a session tells of itself. */
export type SessionListener = {
  /** A consumer is about to be made in this stream of JetStream. */
  onConsumer: (jetstream: string) => void;
  onBegun: (consumer: NatsConsumer) => void;
  onReceived: (isRepeated: boolean) => void;
  onStored: (stored: Stored) => void;
  /** Messages that are not stored yet, and when the oldest of them in hand was stored by JetStream. */
  onPending: (pending: number, sinceMs: number | null) => void;
  onFailure: (error: unknown) => void;
};

/**
 * `waiting`: JetStream has no such stream, or has lost it; `removed`: the remote stream was; `refused`: something has to be put
 * right first; else it has to begin anew.
 */
export type SessionEnd =
  | { kind: "waiting"; why: string; isLost: boolean }
  | { kind: "removed" }
  | { kind: "refused"; why: string }
  | { kind: "ended"; why: string };

const messagesInHand = 4_000;
const bytesInHand = 16_000_000;
const pullExpiresMs = 30_000;
const heartbeatMs = 5_000;
const silenceMs = 12_000;
const ackWaitMs = 30_000;
/** A message of JetStream has at most 64 MiB. */
const mostRoom = 8;
const movedElsewhere = "the mirror was moved by somebody else";

/**
 * Resolves when it has ended, and what was in hand is stored or left to the next session. The cursor in the database decides where
 * to begin: the consumer is made anew from there, so that messages come in order, whatever was delivered before and to whom.
 * Rejects with what NATS and the database reject with.
 */
export async function runSession(
  { nats, pool, appender, naming, context, log, now = () => performance.now() }: SessionOptions,
  id: number,
  consumerName: string,
  listener: SessionListener,
  signal: AbortSignal,
): Promise<SessionEnd> {
  const found = await readPlace(pool, id);
  if (found === null) return { kind: "removed" };
  const { remote, origins, logId } = found;
  const { former } = remote;
  if (former !== null && (await takeAwayConsumer(nats, former, consumerName, log)))
    await forgetFormer(pool, id, former);
  const stream = await locate(nats, remote.source, naming);
  if ("missing" in stream) return { kind: "waiting", why: stream.missing, isLost: remote.cursor !== null };
  const cursor = await align(nats, remote.cursor, stream);
  if (remote.cursor !== null && cursor !== remote.cursor)
    log.warn(
      { remoteStream: remote.name, jetstream: stream.name, created: stream.created, was: remote.cursor },
      "the stream of JetStream is another one than before: it is mirrored from its first message",
    );
  let { revision } = remote;
  if (cursor !== remote.cursor) {
    // Noted first: whoever removes the mirror, or puts it with another source, knows where its consumer is.
    const move = { remote: id, revision, cursor, origins: [], letters: [], settled: [] };
    try {
      await advanceMirror(pool, move);
    } catch (error) {
      if (isMoved(error)) return { kind: "ended", why: movedElsewhere };
      throw error;
    }
    revision++;
  }
  listener.onConsumer(stream.name);
  await nats.deleteConsumer(stream.name, consumerName);
  const consumer = await nats.createConsumer({
    stream: stream.name,
    name: consumerName,
    subject: "service" in remote.source ? null : remote.source.subject,
    startSequence: cursor.sequence + 1,
    ackWaitMs,
    maxUnacknowledged: messagesInHand * 2,
  });
  signal.throwIfAborted();
  listener.onBegun(consumer);
  const place: MirrorPlace = { remote: id, revision, cursor, origins };
  return feed(
    { nats, pool, appender, log, now },
    { remote, consumer: consumer.name, reading: { ...context, logId, stream: remote.name, source: remote.source } },
    place,
    listener,
    signal,
  );
}

async function feed(
  { nats, pool, appender, log, now }: Required<Pick<SessionOptions, "nats" | "pool" | "appender" | "log" | "now">>,
  { remote, consumer, reading }: { remote: RemoteStream; consumer: string; reading: ReadContext },
  from: MirrorPlace,
  listener: SessionListener,
  signal: AbortSignal,
): Promise<SessionEnd> {
  const { jetstream } = from.cursor;
  const ended = Promise.withResolvers<SessionEnd>();
  let place = from;
  let isOver = false;
  /** Asked for, and not delivered yet. */
  let outstanding = 0;
  let isAnyDelivered = false;
  let acknowledgedMs = Number.POSITIVE_INFINITY;
  /** Times what is asked for at once, where one message alone is larger than that. */
  let room = 1;
  let deliveries = 0;
  let taken = from.cursor.sequence;
  let undelivered = 0;
  let isReturnTold = false;
  let heardMs = performance.now();
  let storing: Promise<void> | null = null;

  function end(why: string, kind: "ended" | "refused" = "ended"): void {
    isOver = true;
    ended.resolve({ kind, why });
  }

  function refill(): void {
    const held = inHand.messages() + outstanding;
    if (isOver || held > messagesInHand / 2 || inHand.bytes() > bytesInHand / 2) return;
    const messages = messagesInHand - held;
    // One message alone is let through, however large.
    const bytes = Math.max(room * bytesInHand - inHand.bytes(), 2 * (nats.server()?.maxPayloadBytes ?? 0));
    if (outstanding === 0) heardMs = performance.now();
    outstanding += messages;
    isAnyDelivered = false;
    try {
      puller.pull({ messages, bytes, expiresMs: pullExpiresMs, heartbeatMs });
    } catch (error) {
      end(String(error));
    }
  }

  function onMessage(received: ReceivedMessage): void {
    if (isOver) return;
    heardMs = performance.now();
    if (received.delivery !== ++deliveries) {
      end("a message was lost on its way");
      return;
    }
    outstanding = Math.max(0, outstanding - 1);
    isAnyDelivered = true;
    room = 1;
    undelivered = received.pending;
    listener.onReceived(received.attempt > 1);
    // What was not acknowledged in time comes again, and is in hand still or acknowledged by now.
    if (received.sequence > taken) {
      taken = received.sequence;
      inHand.add(received);
    } else if (received.sequence <= place.cursor.sequence) acknowledgeAgain(received);
    refill();
  }

  function acknowledgeAgain({ receipt, attempt, sequence }: ReceivedMessage): void {
    // One that was on its way when it was acknowledged says nothing.
    if (attempt <= 2 || now() - acknowledgedMs <= ackWaitMs) acknowledge(receipt);
    else
      end(
        `JetStream does not hear that message ${sequence} is done with: may the account publish on $JS.ACK?`,
        "refused",
      );
  }

  function acknowledge(receipt: string): void {
    try {
      puller.acknowledge(receipt);
    } catch (error) {
      end(String(error));
    }
  }

  function onStatus({ code, description, unserved }: PullStatus): void {
    heardMs = performance.now();
    if (code === 100) return;
    const isServed = code === 404 || code === 408 || (code === 409 && /MaxBytes|Batch Completed/i.test(description));
    if (!isServed) {
      if (code === forbidden) end(description, "refused");
      else end(`${code} ${description}`);
      return;
    }
    if (/MaxBytes/i.test(description) && !isAnyDelivered && inHand.messages() === 0)
      room = Math.min(room * 2, mostRoom);
    outstanding = unserved === 0 ? 0 : Math.max(0, outstanding - unserved);
    refill();
  }

  function read(received: ReceivedMessage): Entry {
    const { sequence, storedMs, subject, data } = received;
    const message = { jetstream, sequence, storedMs, subject, headers: headersOf(received), data };
    const read = readMessage(message, reading);
    if (read.isReturned && !isReturnTold) {
      isReturnTold = true;
      log.info(
        { remoteStream: remote.name, jetstream, sequence },
        "events of this stream come back to it, and are passed over",
      );
    }
    return { ...read, message };
  }

  /** In a turn of its own, and so never between the last look at what is read and the end of storing. */
  function begin(): void {
    storing ??= store().finally(() => {
      storing = null;
    });
  }

  async function store(): Promise<void> {
    const options = { pool, appender, onFailure: listener.onFailure };
    for (let batch = inHand.nextBatch(); batch.length > 0 && !isOver; batch = inHand.nextBatch()) {
      listener.onPending(inHand.messages() + undelivered, batch[0]?.message.storedMs ?? null);
      const stored = await storeEntries(options, remote, batch, place, signal).catch((error: unknown) => {
        end(error instanceof Error ? error.message : String(error));
      });
      if (stored === undefined) return;
      if (stored === null) return end(movedElsewhere);
      place = stored.place;
      listener.onStored(stored);
      inHand.release(batch);
      listener.onPending(inHand.messages() + undelivered, inHand.oldestMs());
      // After the commit: a crash here has the messages come again, and they are behind the cursor.
      acknowledge((batch.at(-1) as Held).receipt);
      acknowledgedMs = now();
      refill();
    }
  }

  const inHand = createInHand({ read, onRead: begin });
  const puller = nats.openPuller(jetstream, consumer, { onMessage, onStatus });
  const forget = nats.onState((state) => state !== "connected" && end(`NATS is ${state}`));
  const onAbort = () => end("it was stopped");
  signal.addEventListener("abort", onAbort, { once: true });
  const watch = setInterval(() => {
    if (outstanding > 0 && performance.now() - heardMs > silenceMs) end("nothing is heard of JetStream");
  }, heartbeatMs);
  try {
    if (signal.aborted) onAbort();
    refill();
    return await ended.promise;
  } finally {
    clearInterval(watch);
    signal.removeEventListener("abort", onAbort);
    forget();
    puller.close();
    inHand.close();
    await storing;
  }
}

/** Headers that cannot be read leave a message without any. */
function headersOf(message: ReceivedMessage): ReceivedMessage["headers"] {
  try {
    return message.headers;
  } catch {
    return [];
  }
}
