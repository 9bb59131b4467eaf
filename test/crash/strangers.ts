// Somebody who publishes to the subjects of cross-service streams with a stock client of NATS, again until JetStream confirms it.
import { setTimeout as sleep } from "node:timers/promises";
import { headers, type NatsConnection } from "nats";
import type { StrangerForm } from "./bridge-history.ts";
import { type BridgedStream, bridgedStreams } from "./bridged.ts";
import type { History } from "./history.ts";
import type { Random } from "./random.ts";

export const strangeSource = "/stranger";
export const strangeType = "Strange";

export type StrangersOptions = {
  history: History;
  random: Random;
  client: NatsConnection;
  /** No new messages after it; one under way is published to its end. */
  stop: AbortSignal;
  giveUp: AbortSignal;
};

export async function runStrangers({ history, random, client, stop, giveUp }: StrangersOptions): Promise<void> {
  const targets = bridgedStreams.filter(({ hasStrangers }) => hasStrangers);
  for (let n = 0; !stop.aborted; n++) {
    const mark = `stranger-${n}`;
    const form = random.pick<StrangerForm>(["binary", "structured", "plain", "poison", "thief"]);
    const to = random.pick(targets);
    const messageId = form === "thief" ? nextId(history) : mark;
    const published = await publish(client, to, messageOf(mark, form), messageId, giveUp);
    const { stream } = to;
    history.add({ kind: "stranger-published", at: history.now(), stream, mark, form, ...published });
    await sleep(random.between(20, 250));
  }
}

async function publish(
  client: NatsConnection,
  { jetstream }: BridgedStream,
  { lines, text }: Message,
  messageId: string,
  giveUp: AbortSignal,
): Promise<{ attempts: number; isConfirmed: boolean }> {
  const js = client.jetstream({ timeout: 1_000 });
  const head = headers();
  for (const [name, value] of Object.entries({ "Nats-Msg-Id": messageId, ...lines })) head.set(name, value);
  const subject = `${jetstream.replace("_", ".")}.${strangeType}`;
  for (let attempts = 1; ; attempts++) {
    const isDone = await js.publish(subject, text, { headers: head }).then(
      () => true,
      () => false,
    );
    if (isDone || giveUp.aborted) return { attempts, isConfirmed: isDone };
    await sleep(100);
  }
}

/** The id of an event that a writer is about to append. */
function nextId({ entries }: History): string {
  const last = entries.findLast((entry) => entry.kind === "invoked" && /^ids-\d+$/.test(entry.group));
  const count = last?.kind === "invoked" ? Number(last.group.slice("ids-".length)) : 0;
  return `ids-${count + 2}-0`;
}

type Message = { lines: Record<string, string>; text: string };

function messageOf(mark: string, form: StrangerForm): Message {
  const data = { mark, n: 0 };
  const attributes = { specversion: "1.0", id: mark, type: strangeType, source: strangeSource };
  const time = "2026-01-01T00:00:00.000Z";
  switch (form) {
    case "thief":
    case "binary": {
      const named = Object.entries({ ...attributes, time }).map(([name, value]) => [`ce-${name}`, value]);
      return {
        lines: { ...Object.fromEntries(named), "Content-Type": "application/json" },
        text: JSON.stringify(data),
      };
    }
    case "structured":
      return {
        lines: { "Content-Type": "application/cloudevents+json" },
        text: JSON.stringify({ ...attributes, time, data }),
      };
    case "plain":
      return { lines: {}, text: JSON.stringify(data) };
    case "poison":
      return { lines: { "Content-Type": "application/cloudevents+json" }, text: `{"mark":"${mark}",` };
    default:
      return form satisfies never;
  }
}
