// The messages of a mirror that were delivered and are not stored yet: read a few in a turn, and taken in batches.
import type { ReceivedMessage } from "../jetstream.ts";
import type { Entry } from "./batch.ts";

export type Held = Entry & { receipt: string; bytes: number };

export type InHand = {
  /** Takes a message; it is read in a later turn. */
  add: (received: ReceivedMessage) => void;
  /** The first that are read, as many as are stored at once; none where none is. */
  nextBatch: () => Held[];
  /** A batch is stored. */
  release: (batch: readonly Held[]) => void;
  /** What is held, a batch that is being stored included. */
  messages: () => number;
  bytes: () => number;
  /** When JetStream stored the first message that is not in a batch, in milliseconds; null where there is none. */
  oldestMs: () => number | null;
  /** Reads no more. */
  close: () => void;
};

export type InHandOptions = {
  read: (received: ReceivedMessage) => Entry;
  /** Some have been read. */
  onRead: () => void;
};

const batchMessages = 1_000;
const batchBytes = 2_000_000;
/**
 * Read in one turn of the event loop. JetStream delivers many hundred messages in one piece; while all of them were read, the
 * statement that stores those before them would stand half written in the socket, and requests would wait.
 */
const messagesPerTurn = 64;
/** Of a message beside its headers and data, for the limits. */
const overheadBytes = 500;

export function createInHand({ read, onRead }: InHandOptions): InHand {
  let arrived: ReceivedMessage[] = [];
  let entries: Held[] = [];
  let messages = 0;
  let bytes = 0;
  let turn: ReturnType<typeof setImmediate> | null = null;

  function readSome(): void {
    turn = null;
    const some = arrived.slice(0, messagesPerTurn);
    arrived = arrived.slice(some.length);
    for (const one of some) entries.push({ ...read(one), receipt: one.receipt, bytes: sizeOf(one) });
    if (arrived.length > 0) turn = setImmediate(readSome);
    onRead();
  }

  return {
    add(received) {
      arrived.push(received);
      messages++;
      bytes += sizeOf(received);
      turn ??= setImmediate(readSome);
    },
    nextBatch() {
      let size = 0;
      let count = 0;
      for (; count < Math.min(entries.length, batchMessages); count++) {
        size += (entries[count] as Held).bytes;
        if (count > 0 && size > batchBytes) break;
      }
      const batch = entries.slice(0, count);
      entries = entries.slice(count);
      return batch;
    },
    release(batch) {
      messages -= batch.length;
      for (const one of batch) bytes -= one.bytes;
    },
    messages: () => messages,
    bytes: () => bytes,
    oldestMs: () => entries[0]?.message.storedMs ?? arrived[0]?.storedMs ?? null,
    close() {
      if (turn !== null) clearImmediate(turn);
      arrived = [];
      entries = [];
    },
  };
}

function sizeOf({ bytes }: ReceivedMessage): number {
  return bytes + overheadBytes;
}
