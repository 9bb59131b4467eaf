// What a mirror has in hand: read a few messages in a turn, taken in batches, counted until it is stored.
import { expect, test } from "bun:test";
import { createInHand, type Held } from "../../../src/delivery/bridge/inbound/in-hand.ts";
import type { ReceivedMessage } from "../../../src/delivery/bridge/jetstream.ts";

function messageOf(sequence: number, length = 10): ReceivedMessage {
  const data = new Uint8Array(length);
  const receipt = `receipt-${sequence}`;
  return {
    subject: "a.b",
    receipt,
    attempt: 1,
    sequence,
    delivery: sequence,
    storedMs: sequence,
    pending: 0,
    headers: [],
    data,
    bytes: length,
  };
}

function inHandOf(onRead: () => void = () => {}) {
  let reads = 0;
  const inHand = createInHand({
    read({ sequence, storedMs, subject, headers, data }) {
      reads++;
      const message = { jetstream: "a", sequence, storedMs, subject, headers, data };
      return { event: new Error("not looked at") as never, origin: null, isReturned: false, message };
    },
    onRead,
  });
  return { inHand, reads: () => reads };
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
const sequencesOf = (batch: readonly Held[]) => batch.map(({ message }) => message.sequence);

test("messages that arrive at once are read a few in a turn, and others have theirs in between", async () => {
  const { inHand, reads } = inHandOf();
  for (let n = 1; n <= 300; n++) inHand.add(messageOf(n));
  expect(reads()).toBe(0);
  const counts: number[] = [];
  while (reads() < 300) {
    const before = reads();
    await turn();
    counts.push(reads() - before);
  }
  expect(Math.max(...counts)).toBeLessThanOrEqual(64);
  const batch = inHand.nextBatch();
  expect(sequencesOf(batch)).toEqual(Array.from({ length: 300 }, (_, n) => n + 1));
  expect(batch.every(({ receipt }, n) => receipt === `receipt-${n + 1}`)).toBe(true);
});

test("a batch has a limit of messages and one of bytes, and one message alone may exceed it", async () => {
  const { inHand, reads } = inHandOf();
  for (let n = 1; n <= 1_200; n++) inHand.add(messageOf(n));
  for (const length of [3_000_000, 1_500_000, 400_000, 400_000]) inHand.add(messageOf(1, length));
  while (reads() < 1_204) await turn();
  expect(inHand.nextBatch()).toHaveLength(1_000);
  expect(inHand.nextBatch()).toHaveLength(200);
  expect(inHand.nextBatch().map(({ message }) => message.data.length)).toEqual([3_000_000]);
  expect(inHand.nextBatch().map(({ message }) => message.data.length)).toEqual([1_500_000, 400_000]);
  expect(inHand.nextBatch().map(({ message }) => message.data.length)).toEqual([400_000]);
  expect(inHand.nextBatch()).toEqual([]);
});

test("what is held is counted until it is released, and the oldest is told whether it was read or not", async () => {
  const { inHand, reads } = inHandOf();
  expect(inHand.oldestMs()).toBeNull();
  inHand.add(messageOf(7));
  inHand.add(messageOf(8));
  expect(inHand.oldestMs()).toBe(7);
  while (reads() < 2) await turn();
  expect(inHand.oldestMs()).toBe(7);
  const bytes = inHand.bytes();
  const batch = inHand.nextBatch();
  expect([inHand.messages(), inHand.bytes(), inHand.oldestMs()]).toEqual([2, bytes, null]);
  inHand.release(batch);
  expect([inHand.messages(), inHand.bytes()]).toEqual([0, 0]);
});

test("nothing is read after the end", async () => {
  let told = 0;
  const { inHand, reads } = inHandOf(() => told++);
  for (let n = 1; n <= 200; n++) inHand.add(messageOf(n));
  while (reads() === 0) await turn();
  const before = [reads(), told];
  inHand.close();
  for (let n = 0; n < 5; n++) await turn();
  expect([reads(), told]).toEqual(before);
  expect(inHand.nextBatch()).toEqual([]);
});
