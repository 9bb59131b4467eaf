// Mirrors at the seams: what comes at the worst moment, and what takes long. JetStream alone is played.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createLog } from "../../../src/base/log.ts";
import { startMirrors } from "../../../src/delivery/bridge/inbound/mirrors.ts";
import { runSession, type SessionListener } from "../../../src/delivery/bridge/inbound/session.ts";
import type { Nats, PullHandlers, PullRequest, ReceivedMessage } from "../../../src/delivery/bridge/jetstream.ts";
import { createLeases, type Leases } from "../../../src/storage/lease.ts";
import { defaultNaming } from "../../../src/stream/cross-service/names.ts";
import { parseRemoteDefinition } from "../../../src/stream/remote/definition.ts";
import {
  configureRemoteStream,
  describeRemoteStream,
  mirrorLease,
  removeRemoteStream,
} from "../../../src/stream/remote/remote-streams.ts";
import { type Appending, openAppending } from "../../support/appending.ts";
import { until } from "../../support/until.ts";

const log = createLog("silent", "test");
let appending: Appending;
beforeAll(async () => {
  appending = await openAppending();
});
afterAll(() => appending.stop());

const stream = {
  name: "svca_numbers",
  subjects: ["svca.numbers.*"],
  created: "2026-01-01T00:00:00.000000001Z",
  messages: 10,
  firstSequence: 1,
  lastSequence: 10,
  retention: "limits",
  config: {
    maxAgeMs: 0,
    maxBytes: -1,
    maxMessages: -1,
    replicas: 1,
    storage: "file" as const,
    duplicateWindowMs: 1_000,
    description: "",
  },
};

const message = (sequence: number): ReceivedMessage => ({
  subject: "svca.numbers.Counted",
  sequence,
  delivery: sequence,
  attempt: 1,
  storedMs: 1_700_000_000_000 + sequence,
  pending: 0,
  headers: [["Nats-Msg-Id", `n-${sequence}`]],
  data: new TextEncoder().encode(JSON.stringify({ n: sequence })),
  bytes: 100,
  receipt: `receipt-${sequence}`,
});

const unasked = () => Promise.reject(new Error("it is not asked for that"));

/** A JetStream that delivers what it is told to, when it is told to. */
function play(
  onAcknowledged: (receipt: string, handlers: PullHandlers) => void,
  findStream: Nats["findStream"] = () => Promise.resolve(stream),
) {
  const played: { handlers: PullHandlers | null; pulls: PullRequest[] } = { handlers: null, pulls: [] };
  const nats: Nats = {
    state: () => "connected",
    lastError: () => null,
    server: () => ({ version: "2.9.10", name: "played", maxPayloadBytes: 1_000_000 }),
    connects: () => 1,
    onState: () => () => true,
    openPublisher: () => {
      throw new Error("it is not asked for that");
    },
    findStream,
    createStream: unasked,
    updateStream: unasked,
    streamsOfSubject: unasked,
    message: () => Promise.resolve(null),
    findConsumer: unasked,
    createConsumer: ({ name }) => Promise.resolve({ name, unacknowledged: 0, pending: 0, redelivered: 0 }),
    deleteConsumer: () => Promise.resolve(),
    openPuller(_stream, _consumer, handlers) {
      played.handlers = handlers;
      return {
        pull: (pull) => played.pulls.push(pull),
        acknowledge: (receipt) => onAcknowledged(receipt, handlers),
        close() {},
      };
    },
    stop: () => Promise.resolve(),
  };
  return { nats, played };
}

const listener: SessionListener = {
  onConsumer() {},
  onBegun() {},
  onReceived() {},
  onStored() {},
  onPending() {},
  onFailure(error) {
    throw error;
  },
};

test("a message that comes in the moment in which the last one is done with is stored too, though none comes after it", async () => {
  const { reads, claims, appender } = appending;
  const definition = parseRemoteDefinition(
    { service: "svca", stream: "numbers" },
    { service: "svcb", stream: "numbers" },
  );
  await configureRemoteStream(claims, "numbers", definition);
  const { id } = await describeRemoteStream(reads, "numbers");
  const { nats, played } = play((receipt, handlers) => {
    // Before whoever waits for the end of the storing is told of it.
    if (receipt === "receipt-1") queueMicrotask(() => handlers.onMessage(message(2)));
  });
  const abort = new AbortController();
  const options = { nats, pool: claims, appender, naming: defaultNaming("svcb"), log };
  const session = runSession(
    { ...options, context: { service: "svcb", maxEventBytes: 1_000_000 } },
    id,
    "svcb_numbers",
    listener,
    abort.signal,
  );
  (await until("it pulls", () => played.handlers)).onMessage(message(1));
  await until("both are stored", async () => (await describeRemoteStream(reads, "numbers")).cursor?.sequence === 2);
  abort.abort();
  expect((await session).kind).toBe("ended");
});

/** A session of a new remote stream, once it has pulled. */
async function begun(name: string, onAcknowledged: Parameters<typeof play>[0] = () => {}, now?: () => number) {
  const { reads, claims, appender } = appending;
  const definition = parseRemoteDefinition({ service: "svca", stream: name }, { service: "svcb", stream: name });
  await configureRemoteStream(claims, name, definition);
  const { id } = await describeRemoteStream(reads, name);
  const { nats, played } = play(onAcknowledged);
  const abort = new AbortController();
  const options = { nats, pool: claims, appender, naming: defaultNaming("svcb"), log, ...(now && { now }) };
  const context = { service: "svcb", maxEventBytes: 1_000_000 };
  const session = runSession({ ...options, context }, id, `svcb_${name}`, listener, abort.signal);
  const handlers = await until("it pulls", () => played.handlers);
  const sequence = async () => (await describeRemoteStream(reads, name)).cursor?.sequence;
  return { session, handlers, played, sequence, abort };
}

test("what was acknowledged and comes again and again is told, and acknowledged again meanwhile", async () => {
  const receipts: string[] = [];
  let nowMs = 0;
  const { session, handlers, sequence } = await begun(
    "unheard",
    (receipt) => receipts.push(receipt),
    () => nowMs,
  );
  handlers.onMessage(message(1));
  await until("it is stored and acknowledged", async () => (await sequence()) === 1 && receipts.length === 1);
  handlers.onMessage({ ...message(1), delivery: 2, attempt: 2, receipt: "again" });
  // On its way already when the first was acknowledged, after an outage.
  handlers.onMessage({ ...message(1), delivery: 3, attempt: 3, receipt: "late" });
  expect(receipts).toEqual(["receipt-1", "again", "late"]);
  nowMs += 31_000;
  handlers.onMessage({ ...message(1), delivery: 4, attempt: 4, receipt: "once more" });
  expect(await session).toMatchObject({ kind: "refused", why: expect.stringContaining("$JS.ACK") });
});

test("a message that is larger than all that is asked for at once is asked for again, with more room", async () => {
  const { session, handlers, played, sequence, abort } = await begun("roomy");
  const tooLarge = () => {
    const [last] = played.pulls.slice(-1);
    const unserved = last?.messages as number;
    handlers.onStatus({ code: 409, description: "Message Size Exceeds MaxBytes", unserved });
    return last?.bytes as number;
  };
  const first = tooLarge();
  expect(tooLarge()).toBe(2 * first);
  expect(tooLarge()).toBe(4 * first);
  handlers.onMessage(message(1));
  await until("it is stored", async () => (await sequence()) === 1);
  handlers.onStatus({ code: 409, description: "Message Size Exceeds MaxBytes", unserved: 0 });
  expect(tooLarge()).toBe(first);
  abort.abort();
  await session;
});

test("a mirror that is long in stopping holds up no other, but for the next one of its name", async () => {
  const { reads, claims, appender } = appending;
  const put = (name: string) => {
    const definition = parseRemoteDefinition({ service: "svca", stream: name }, { service: "svcb", stream: name });
    return configureRemoteStream(claims, name, definition);
  };
  const asked: string[] = [];
  const slow = Promise.withResolvers<null>();
  const { nats } = play(
    () => {},
    (name) => {
      asked.push(name);
      return name === "svca_slow" ? slow.promise : Promise.resolve(null);
    },
  );
  const held = createLeases({ pool: claims, ttlMs: 10_000, log });
  held.start();
  // Giving up the lease of the slow one takes its time.
  const leases: Pick<Leases, "want"> = {
    want(name, holder) {
      const giveUp = held.want(name, holder);
      return async () => {
        if (name === mirrorLease("slow")) await slow.promise;
        await giveUp();
      };
    },
  };
  const options = { nats, pool: claims, appender, leases, naming: defaultNaming("svcb"), log };
  const mirrors = startMirrors({ ...options, context: { service: "svcb", maxEventBytes: 1_000_000 } });
  const timesAsked = (name: string) => asked.filter((one) => one === name).length;
  await put("slow");
  mirrors.wake();
  await until("the slow one is under way", () => timesAsked("svca_slow") === 1);
  await removeRemoteStream(claims, "slow");
  await put("slow");
  await put("quick");
  mirrors.wake();
  await until("the other one has begun", () => timesAsked("svca_quick") > 0);
  expect(timesAsked("svca_slow")).toBe(1);
  slow.resolve(null);
  await until("its successor has begun", () => timesAsked("svca_slow") > 1);
  expect((await describeRemoteStream(reads, "slow")).isInHand).toBe(true);
  await mirrors.stop();
  await held.stop();
});
