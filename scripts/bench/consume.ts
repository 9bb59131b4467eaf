// Consumers of a queue or a subscription, as a process of its own: takes, acknowledges, checks, and prints how fast that was.
import { createTally, type Tally } from "./delivered.ts";
import { type EventStream, openConnection, openEventStream } from "./http-socket.ts";
import { median } from "./pairs.ts";

/** What is consumed: the path of a stream with a queue, or of a subscription. */
type Source = { path: string; messages: number };

export type ConsumeOptions = Source & {
  url: string;
  by: "claims" | "event-streams";
  consumers: number;
  /** Deliveries in a claim. */
  max: number;
  /** Of more messages, so many are taken; without `seconds` all of `messages` have to come. */
  take?: number;
  /** Ends after this time; it is a failure if the messages do not last so long. */
  seconds?: number;
  /** So many keys, one for each offset in turn: the events of each must come in order. */
  keys?: number;
  /** Consumed before, since what is compiled at first use must not count. */
  warmUp?: Source;
};

export type Consumed = {
  settled: number;
  perSecond: number;
  /** The median of the seconds in the last quarter of the time. */
  perSecondAtEnd: number;
};

const stalledMs = 20_000;

type Run = {
  options: ConsumeOptions;
  tally: Tally;
  /** Whether all that was asked for has been delivered, or the time is up. */
  isOver: () => boolean;
  settled: (tokens: number) => void;
  /** Resolves when it is over and all that was delivered is settled. */
  done: Promise<void>;
};

/** Works until the run is done; `close` ends it at once. */
type Consumer = { work: () => Promise<void>; close: () => void };

async function consume(options: ConsumeOptions): Promise<Consumed> {
  const { messages, take = messages, seconds, keys } = options;
  const tally = createTally(messages, keys);
  const done = Promise.withResolvers<void>();
  const stalled = Promise.withResolvers<never>();
  const bySecond: number[] = [];
  let settled = 0;
  let started = performance.now();
  let lastAt = started;
  const run: Run = {
    options,
    tally,
    done: done.promise,
    isOver: () => tally.count() >= take || (seconds !== undefined && performance.now() - started >= seconds * 1_000),
    settled(tokens) {
      settled += tokens;
      lastAt = performance.now();
      const second = Math.floor((lastAt - started) / 1_000);
      while (bySecond.length <= second) bySecond.push(0);
      bySecond[second] = (bySecond[second] as number) + tokens;
      if (run.isOver() && settled === tally.count()) done.resolve();
    },
  };
  const open = options.by === "claims" ? openClaimer : openSubscriber;
  const consumers = await Promise.all(Array.from({ length: options.consumers }, (_, i) => open(run, `c${i + 1}`)));
  const watch = setInterval(() => {
    if (performance.now() - lastAt < stalledMs) return;
    stalled.reject(new Error(`${settled} of ${take} messages were settled, then nothing for ${stalledMs / 1_000} s`));
  }, 1_000);
  started = performance.now();
  lastAt = started;
  await Promise.race([stalled.promise, Promise.all(consumers.map((consumer) => consumer.work()))]);
  clearInterval(watch);
  for (const consumer of consumers) consumer.close();
  if (settled !== tally.count()) throw new Error(`${settled} of ${tally.count()} deliveries were settled`);
  if (seconds === undefined && take === messages) await requireEmpty(options, tally);
  const perSecond = settled / ((lastAt - started) / 1_000);
  // The last second is seldom a whole one.
  const lastQuarter = bySecond.slice(Math.floor((bySecond.length - 1) * 0.75), -1);
  return { settled, perSecond, perSecondAtEnd: lastQuarter.length > 0 ? median(lastQuarter) : perSecond };
}

/** Claims a batch, acknowledges it, claims the next. Waits at the service only after there was nothing. */
async function openClaimer(run: Run, consumer: string): Promise<Consumer> {
  const { url, path, max, seconds } = run.options;
  const connection = await openConnection(url);
  const claim = JSON.stringify({ consumer, max });
  const waitingClaim = JSON.stringify({ consumer, max, wait: "1s" });
  return {
    close: connection.close,
    async work() {
      let wasEmpty = false;
      while (!run.isOver()) {
        const { status, text } = await connection.request("POST", `${path}/claims`, wasEmpty ? waitingClaim : claim);
        if (status !== 200) throw new Error(`a claim was answered ${status} ${text}`);
        const tokens = run.tally.add(text, "token");
        wasEmpty = tokens.length === 0;
        if (wasEmpty && seconds !== undefined) throw new Error("the queue ran empty: there were too few messages");
        if (wasEmpty) continue;
        requireSettled(tokens.length, await connection.request("POST", `${path}/acks`, bodyOf(tokens)));
        run.settled(tokens.length);
      }
    },
  };
}

/** Receives on an event stream; what has come while one batch was acknowledged is the next batch. */
async function openSubscriber(run: Run, consumer: string): Promise<Consumer> {
  const { url, path } = run.options;
  const connection = await openConnection(url);
  const failed = Promise.withResolvers<never>();
  let stream: EventStream | null = null;
  let tokens: string[] = [];
  let isAcknowledging = false;
  const acknowledge = async () => {
    isAcknowledging = true;
    while (tokens.length > 0) {
      const batch = tokens;
      tokens = [];
      requireSettled(batch.length, await connection.request("POST", `${path}/acks`, bodyOf(batch)));
      run.settled(batch.length);
    }
    isAcknowledging = false;
  };
  const frames = (text: string) => {
    tokens = tokens.concat(run.tally.add(text, "deliverytoken"));
    if (!isAcknowledging) void acknowledge().catch(failed.reject);
  };
  return {
    async work() {
      const handler = { frames, failed: failed.reject };
      stream = await openEventStream(url, `${path}/events?consumer=${consumer}`, handler);
      await Promise.race([failed.promise, run.done]);
    },
    close() {
      stream?.close();
      connection.close();
    },
  };
}

function bodyOf(tokens: readonly string[]): string {
  return `{"tokens":["${tokens.join('","')}"]}`;
}

function requireSettled(tokens: number, { status, text }: { status: number; text: string }): void {
  if (status !== 200) throw new Error(`acks were answered ${status} ${text}`);
  const settled = text.split('"settled"').length - 1;
  if (settled !== tokens) throw new Error(`${settled} of ${tokens} acks settled: ${text.slice(0, 500)}`);
}

/** All came, and nothing is left. */
async function requireEmpty({ url, path }: ConsumeOptions, tally: Tally): Promise<void> {
  tally.requireAll();
  const connection = await openConnection(url);
  const { text } = await connection.request("POST", `${path}/claims`, JSON.stringify({ consumer: "c1", max: 1 }));
  connection.close();
  const { deliveries } = JSON.parse(text) as { deliveries: unknown[] };
  if (deliveries.length > 0) throw new Error(`something is left of what was drained: ${text}`);
}

const { warmUp, ...options } = JSON.parse(process.argv[2] ?? "{}") as ConsumeOptions;
const run = async () => {
  if (warmUp !== undefined) {
    const { url, by, consumers, max } = options;
    await consume({ url, by, consumers, max, ...warmUp });
  }
  return consume(options);
};
const result = await run().catch((error: Error) => ({ failed: error.message }));
process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
