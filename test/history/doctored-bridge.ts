// A small run of the bridge written by hand, which is right; tests break one thing of it and see whether the checks find that.
import type { Content } from "../crash/bridge-content.ts";
import type { StrangerForm } from "../crash/bridge-history.ts";
import type { BridgedSnapshot, BridgeSnapshot, PublishedEvent } from "../crash/bridge-snapshot.ts";
import { bridgedStreams, greatestN, lateType, oversizedBytes, tries } from "../crash/bridged.ts";
import { checkBridge } from "../crash/check/bridge.ts";
import type { Entry } from "../crash/history.ts";
import { strangeSource, strangeType } from "../crash/strangers.ts";
import { append } from "./doctored.ts";

export type BridgeRun = { history: Entry[]; snapshot: BridgeSnapshot };

/** What the checks find, but for what a run so small has not seen. */
export function violationsOf({ history, snapshot }: BridgeRun): string[] {
  return checkBridge(history, snapshot).filter((violation) => !violation.startsWith("[nothing was proved]"));
}

const logId = "log";
const poisonAt = 3;
const largeAt = 5;
/** Was tried again, and went well. */
const lateAt = 6;
const eventsEach = 8;
/** How many the bounded JetStream stream of the run keeps. */
const keptEvents = 4;

function publishedEvent(stream: string, offset: number, position: number, isStrict: boolean): PublishedEvent {
  const mark = `${stream}/${offset}`;
  const n = isStrict && offset === poisonAt ? greatestN + 1 : offset;
  const type = isStrict && offset === lateAt ? lateType : "Opened";
  const content: Content = {
    specversion: "1.0",
    id: `id-${mark}`,
    type,
    source: "/svca",
    data: JSON.stringify({ mark, n }),
  };
  return {
    ...{ stream, position, offset, id: `id-${mark}`, type, mark, n, hash: mark, content },
    ...{ recordedTime: "2026-01-01T00:00:00.000Z", bytes: !isStrict && offset === largeAt ? oversizedBytes : 200 },
  };
}

/** All of it but for a message of a stranger, as it is when nothing has gone wrong. */
function rightStream(declared: (typeof bridgedStreams)[number], base: number): BridgedSnapshot {
  const { stream, mirror, isStrict, maxEvents } = declared;
  const log = Array.from({ length: eventsEach }, (_, n) => publishedEvent(stream, n, base + n, isStrict));
  const due = log.filter(({ bytes }) => bytes < oversizedBytes);
  const isPoison = ({ offset }: PublishedEvent) => isStrict && offset === poisonAt;
  const messages = due.map(({ offset, content }, n) => ({
    ...{ sequence: n + 1, offset, logId, content: { ...content }, text: "" },
  }));
  const bound = maxEvents === null ? null : keptEvents;
  return {
    ...{ ...declared, maxEvents: bound, log },
    held: bound === null ? messages : messages.slice(-bound),
    withheld: log
      .filter((event) => !due.includes(event))
      .map(({ offset, id }) => ({ offset, id, reason: "too large" })),
    mirrored: due
      .filter((event) => !isPoison(event))
      .map(({ content, offset }, n) => ({ offset: n, content: { ...content }, origin: { stream, offset, logId } })),
    letters: due.filter(isPoison).map(({ offset, content }) => ({
      ...{ sequence: offset + 1, reason: "schema-mismatch", detail: "", attempts: tries, offset },
      ...{ content: { ...content }, payload: content.data as string },
    })),
    consumers: [`svcb_${mirror.replaceAll(".", "_")}`],
  };
}

/** A message of a stranger at the end of a stream, with what became of it. */
export function addStranger({ history, snapshot }: BridgeRun, mark: string, form: StrangerForm, attempts = 1): void {
  const stream = streamOf({ snapshot }, "orders");
  const { held, mirrored, letters } = stream;
  const text = JSON.stringify({ mark, n: 0 });
  const sequence = (held.at(-1)?.sequence ?? 0) + 1;
  const content: Content = { id: mark, type: strangeType, source: strangeSource, data: text };
  if (form === "plain") content.source = "nats:svca.orders.Strange";
  history.push({ kind: "stranger-published", at: sequence, stream: "orders", mark, form, attempts, isConfirmed: true });
  held.push({ sequence, offset: null, logId: null, content: form === "poison" ? null : content, text });
  if (form === "poison")
    letters.push({
      sequence,
      reason: "malformed-body",
      detail: "",
      attempts: 1,
      offset: null,
      content: null,
      payload: text,
    });
  else mirrored.push({ offset: (mirrored.at(-1)?.offset ?? -1) + 1, content, origin: null });
}

export function streamOf({ snapshot }: Pick<BridgeRun, "snapshot">, name: string): BridgedSnapshot {
  return snapshot.streams.find(({ stream }) => stream === name) as BridgedSnapshot;
}

/** The run, in which everything is right. */
export function rightRun(): BridgeRun {
  const streams = bridgedStreams.map((stream, n) => rightStream(stream, n * eventsEach));
  const history = streams.flatMap(({ log }) =>
    log.flatMap(({ stream, mark, id, offset, position }) =>
      append(mark, { stream, stored: [{ id, offset, duplicate: false }], lastPosition: position }),
    ),
  );
  const connections = ["svca", "svcb"].map((name) => ({ name, subscriptions: 5 }));
  const run = { history, snapshot: { logId, streams, defects: [], processes: 1, connections } };
  addStranger(run, "stranger-0", "binary");
  addStranger(run, "stranger-1", "plain");
  addStranger(run, "stranger-2", "poison");
  return run;
}
