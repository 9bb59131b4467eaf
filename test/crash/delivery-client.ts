// Claims, follows and settles events of subscriptions over HTTP, and notes every request with what became of it.
import type { Delivered, SettlingAction, SettlingAnswered, SubscriptionDeclared } from "./consumer-history.ts";
import { type History, hashOf } from "./history.ts";
import { createHttpConnection } from "./http-connection.ts";
import type { Random } from "./random.ts";
import { createRequests, problemOf } from "./requests.ts";
import { asStoredEvent } from "./versioned.ts";

export type SettleOptions = {
  tokens: string[];
  consumer: string | null;
  delayMs?: number;
  extensionMs?: number;
  reason?: string;
};

export type ClaimWish = {
  max: number;
  waitMs: number;
  /** Null: the subscription's. */
  visibilityTimeoutMs: number | null;
  /** Leaves before the answer when it fires. */
  leave?: AbortSignal;
};

export type DeliveryClient = {
  /** What was handed out; null when there was no answer, or a problem. */
  claim: (subscription: SubscriptionDeclared, consumer: string, wish: ClaimWish) => Promise<Delivered[] | null>;
  /** Follows until the signal fires or the connection breaks. */
  feed: (
    subscription: SubscriptionDeclared,
    consumer: string,
    leave: AbortSignal,
    take: (deliveries: Delivered[]) => void,
  ) => Promise<void>;
  settle: (
    subscription: SubscriptionDeclared,
    action: SettlingAction,
    options: SettleOptions,
  ) => Promise<SettlingAnswered>;
};

export type DeliveryClientOptions = {
  history: History;
  random: Random;
  /** Ports of the services, as those who ask and settle reach them, and as those who follow do. */
  ports: readonly number[];
  feedPorts: readonly number[];
  nextOp: () => number;
};

const silenceMs = 8_000;
/** Several heartbeats. */
const feedSilenceMs = 5_000;

type Envelope = {
  id: string;
  stream: string;
  offset: string;
  position: string;
  partitionkey?: string;
  schemaversion?: string;
  data?: unknown;
};

export function createDeliveryClient(options: DeliveryClientOptions): DeliveryClient {
  const { history, random, ports, nextOp } = options;
  const request = createRequests({ random, ports, silenceMs });

  const delivered = (
    event: Envelope,
    { token, attempt, deadline }: { token: string; attempt: number; deadline: string | null },
    timeoutMs: number,
  ): Delivered => {
    const until = deadline === null ? null : history.at(Date.parse(deadline));
    return {
      ...{
        token,
        id: event.id,
        attempt,
        deadline: until,
        claimedAt: until === null ? history.now() : until - timeoutMs,
      },
      ...{ stream: event.stream, offset: Number(event.offset), position: Number(event.position) },
      ...{ key: event.partitionkey ?? null, hash: hashOf(JSON.stringify(asStoredEvent(event))) },
    };
  };

  return {
    async claim(declared, consumer, { max, waitMs, visibilityTimeoutMs, leave }) {
      const { subscription } = declared;
      const op = nextOp();
      history.add({ kind: "claiming", op, at: history.now(), subscription, consumer });
      const timeoutMs = visibilityTimeoutMs ?? declared.visibilityTimeoutMs;
      const body = {
        ...{ consumer, max, wait: `${waitMs}ms` },
        ...(visibilityTimeoutMs === null ? {} : { visibilityTimeout: `${visibilityTimeoutMs}ms` }),
      };
      try {
        const answer = await request("POST", `${baseOf(declared)}/claims`, body, leave);
        const read = JSON.parse(answer.body) as {
          deliveries?: ({ event: Envelope } & Parameters<typeof delivered>[1])[];
        };
        const deliveries = (read.deliveries ?? []).map((d) => delivered(d.event, d, timeoutMs));
        const reason = answer.status === 200 ? null : problemOf(answer.body);
        history.add({ kind: "claimed", op, at: history.now(), status: answer.status, reason, deliveries });
        if (answer.status !== 200 && answer.status < 500)
          history.alarm(`${consumer} claimed from ${subscription} and was answered ${answer.status} ${reason}`);
        return answer.status === 200 ? deliveries : null;
      } catch (error) {
        const reason = (error as Error).message;
        history.add({ kind: "claimed", op, at: history.now(), status: null, reason, deliveries: [] });
        return null;
      }
    },

    async feed(declared, consumer, leave, take) {
      const { subscription } = declared;
      const op = nextOp();
      const connection = createHttpConnection(random.pick(options.feedPorts));
      let closedByClient = false;
      const close = () => {
        closedByClient = true;
        history.add({ kind: "feed-closed", op, at: history.now(), byClient: true });
        connection.close();
      };
      history.add({ kind: "feed-opened", op, at: history.now(), subscription, consumer });
      leave.addEventListener("abort", close, { once: true });
      const decoder = new TextDecoder();
      let text = "";
      const answer = await connection
        .send({
          ...{ method: "GET", path: `${baseOf(declared)}/events?consumer=${consumer}`, silenceMs: feedSilenceMs },
          headers: { accept: "text/event-stream" },
          onBody(chunk) {
            text += decoder.decode(chunk, { stream: true });
            const frames = text.split("\n\n");
            text = frames.pop() as string;
            const deliveries = frames.flatMap((frame) => readFrame(frame, declared.visibilityTimeoutMs));
            if (deliveries.length === 0) return;
            history.add({ kind: "fed", op, at: history.now(), deliveries });
            if (!leave.aborted) take(deliveries);
          },
        })
        .catch(() => null);
      leave.removeEventListener("abort", close);
      if (!closedByClient) history.add({ kind: "feed-closed", op, at: history.now(), byClient: false });
      connection.close();
      if (answer !== null && answer.status !== 200 && answer.status < 500)
        history.alarm(`${consumer} followed ${subscription} and was answered ${answer.status}: ${answer.body}`);
    },

    async settle(declared, action, { tokens, consumer, delayMs, extensionMs, reason }) {
      const { subscription } = declared;
      const op = nextOp();
      const noted = { delayMs: delayMs ?? null, extensionMs: extensionMs ?? null, reason: reason ?? null };
      history.add({ kind: "settling", op, at: history.now(), subscription, action, consumer, tokens, ...noted });
      const body = {
        ...{ tokens, ...(consumer === null ? {} : { consumer }) },
        ...(action === "ack" || action === "extend" ? {} : { action, reason }),
        ...(delayMs === undefined ? {} : { delay: `${delayMs}ms` }),
        ...(extensionMs === undefined ? {} : { visibilityTimeout: `${extensionMs}ms` }),
      };
      const verb = action === "ack" ? "acks" : action === "extend" ? "extensions" : "nacks";
      let answered: SettlingAnswered;
      try {
        const answer = await request("POST", `${baseOf(declared)}/${verb}`, body);
        const { results = [], deadline } = JSON.parse(answer.body) as { results?: string[]; deadline?: string | null };
        const until = deadline === undefined || deadline === null ? null : history.at(Date.parse(deadline));
        const problem = answer.status === 200 ? null : problemOf(answer.body);
        if (answer.status !== 200 && answer.status < 500)
          history.alarm(`${action} on ${subscription} was answered ${answer.status} ${problem}`);
        answered = {
          ...{ kind: "settling-answered", op, at: history.now(), status: answer.status, reason: problem },
          ...{ results, deadline: until },
        };
      } catch (error) {
        const nothing = { status: null, results: [], deadline: null };
        answered = { kind: "settling-answered", op, at: history.now(), reason: (error as Error).message, ...nothing };
      }
      history.add(answered);
      return answered;
    },
  };

  function readFrame(frame: string, timeoutMs: number): Delivered[] {
    const lines = frame.split("\n");
    const data = lines.find((line) => line.startsWith("data: "))?.slice("data: ".length);
    const name = lines.find((line) => line.startsWith("event: "))?.slice("event: ".length);
    if (data === undefined || name?.startsWith("sluice.")) return [];
    const { deliverytoken, deliverydeadline, deliveryattempt, ...event } = JSON.parse(data);
    const token = (deliverytoken as string | undefined) ?? "settled";
    return [delivered(event, { token, attempt: deliveryattempt, deadline: deliverydeadline ?? null }, timeoutMs)];
  }
}

const baseOf = ({ isQueue, stream, subscription }: SubscriptionDeclared) =>
  isQueue ? `/api/streams/${stream}` : `/api/subscriptions/${subscription}`;
