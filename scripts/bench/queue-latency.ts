// From an append to a consumer that waits for it, by event stream and by a claim that waits, beside the append's own answer.
import { type Connection, openConnection, openEventStream } from "./http-socket.ts";
import { compare, inTurn, percentile } from "./pairs.ts";
import { makeQueue, makeSubscription, requireAnswer, type Source } from "./queues.ts";
import { startService } from "./service.ts";
import { seconds } from "./settings.ts";
import type { Table } from "./table.ts";

const measurement = "delivery";
const perSecond = 100;
const consumers = 8;
const arriveWithinMs = 5_000;

type Way = "an event stream" | "a claim that waits";

/** What came, as it came: how long after its append, in milliseconds. */
type Receiver = { delays: number[]; settled: () => number; stop: () => Promise<void> };

export async function measureQueueLatency(table: Table): Promise<void> {
  const service = await startService();
  for (const way of ["an event stream", "a claim that waits"] as const) {
    // What is compiled at first use must not count.
    await measure(service.url, way, 1);
    const measured = await inTurn(() => measure(service.url, way, seconds));
    for (const [name, share] of [
      ["p50", 0.5],
      ["p99", 0.99],
    ] as const) {
      table.add({
        measurement,
        what: `append → ${way}, ${perSecond}/s, ${consumers} consumers, ${name}`,
        unit: "ms",
        beside: `${name} of the append's own answer`,
        ...compare(
          measured,
          ([{ delays }]) => percentile(delays, share),
          ([{ own }]) => percentile(own, share),
        ),
        ...(name === "p50" && { aim: { of: "ratio", most: 2 } as const }),
      });
    }
  }
  await service.discard();
}

async function measure(url: string, way: Way, forSeconds: number): Promise<{ delays: number[]; own: number[] }> {
  const queue = await makeQueue(url);
  const receiver =
    way === "a claim that waits"
      ? await startClaiming(url, queue)
      : await startFollowing(url, await makeSubscription(url, queue.stream, { mode: "exclusive" }));
  const own = await appendSteadily(url, queue.stream, forSeconds);
  const until = performance.now() + arriveWithinMs;
  while (receiver.settled() < own.length && performance.now() < until) await Bun.sleep(1);
  await receiver.stop();
  const { delays } = receiver;
  if (delays.length !== own.length || receiver.settled() !== own.length)
    throw new Error(`of ${own.length} messages ${delays.length} came, and ${receiver.settled()} were settled`);
  return { delays, own };
}

/** Appends one message after the other at a steady rate; returns how long each took, in milliseconds. */
async function appendSteadily(url: string, stream: string, forSeconds: number): Promise<number[]> {
  const free: Connection[] = [];
  const own: number[] = [];
  const running: Promise<void>[] = [];
  const appendOne = async () => {
    const connection = free.pop() ?? (await openConnection(url));
    const sentMs = performance.now();
    const event = `{"type":"OrderPlaced","data":{"sentMs":${sentMs}}}`;
    await requireAnswer(connection, "POST", `/api/streams/${stream}/events`, event);
    own.push(performance.now() - sentMs);
    free.push(connection);
  };
  const started = performance.now();
  for (let sent = 0; sent < forSeconds * perSecond; sent++) {
    while (performance.now() - started < (sent * 1_000) / perSecond) await Bun.sleep(1);
    running.push(appendOne());
  }
  await Promise.all(running);
  for (const connection of free) connection.close();
  return own;
}

/** Notes when the messages of a text came; returns their tokens. */
function note(delays: number[], text: string, tokenName: string): string[] {
  const now = performance.now();
  for (const [, sentMs] of text.matchAll(/"sentMs":([\d.]+)/g)) delays.push(now - Number(sentMs));
  return [...text.matchAll(new RegExp(`"${tokenName}":"([^"]+)"`, "g"))].map(([, token]) => token as string);
}

async function acknowledge(connection: Connection, { path }: Source, tokens: readonly string[]): Promise<number> {
  const text = await requireAnswer(connection, "POST", `${path}/acks`, JSON.stringify({ tokens }));
  return text.split('"settled"').length - 1;
}

async function startClaiming(url: string, queue: Source): Promise<Receiver> {
  const delays: number[] = [];
  let settled = 0;
  let isOver = false;
  const claimOn = async (consumer: string) => {
    const connection = await openConnection(url);
    const claim = JSON.stringify({ consumer, max: 10, wait: "1s" });
    while (!isOver) {
      const tokens = note(delays, await requireAnswer(connection, "POST", `${queue.path}/claims`, claim), "token");
      if (tokens.length === 0) continue;
      // Not added to before: others add to it meanwhile.
      const count = await acknowledge(connection, queue, tokens);
      settled += count;
    }
    connection.close();
  };
  const claiming = Promise.all(Array.from({ length: consumers }, (_, i) => claimOn(`c${i + 1}`)));
  // The first claims have to wait already when the first message is appended.
  await Promise.race([claiming, Bun.sleep(500)]);
  return {
    delays,
    settled: () => settled,
    async stop() {
      isOver = true;
      await claiming;
    },
  };
}

async function startFollowing(url: string, subscription: Source): Promise<Receiver> {
  const delays: number[] = [];
  let settled = 0;
  let failure: Error | undefined;
  const opened = await Promise.all(
    Array.from({ length: consumers }, async (_, i) => {
      const connection = await openConnection(url);
      let tokens: string[] = [];
      let acknowledging = Promise.resolve();
      let isAcknowledging = false;
      const acknowledgeAll = async () => {
        isAcknowledging = true;
        while (tokens.length > 0) {
          const batch = tokens;
          tokens = [];
          const count = await acknowledge(connection, subscription, batch);
          settled += count;
        }
        isAcknowledging = false;
      };
      const stream = await openEventStream(url, `${subscription.path}/events?consumer=c${i + 1}`, {
        frames(text) {
          tokens = tokens.concat(note(delays, text, "deliverytoken"));
          if (!isAcknowledging) acknowledging = acknowledgeAll();
        },
        failed(error) {
          failure = error;
        },
      });
      return { connection, stream, idle: () => acknowledging };
    }),
  );
  return {
    delays,
    settled: () => settled,
    async stop() {
      for (const { stream, idle, connection } of opened) {
        await idle();
        stream.close();
        connection.close();
      }
      if (failure !== undefined) throw failure;
    },
  };
}
