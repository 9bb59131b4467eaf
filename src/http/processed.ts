// …/consumers/{consumer}/processed/{event} of subscriptions and queues: whether an event was processed, and that it is.
import { Type } from "@sinclair/typebox";
import { forbidden, invalidParameter, notProcessed, type Source, staleToken } from "../base/errors.ts";
import type { Pool } from "../storage/pool.ts";
import type { Processed, ProcessedEvents } from "../subscription/exactly-once/processed.ts";
import type { Catalog } from "../subscription/registry/catalog.ts";
import { type Subscription, sourceOf } from "../subscription/registry/subscription.ts";
import type { BodyReader } from "./body.ts";
import { type Exchange, type Handler, json } from "./context.ts";
import { createJsonReader } from "./json-body.ts";
import { readConsumerName, readQuery, readSubscriptionName } from "./parameters.ts";
import { visibleQueue } from "./subscription-access.ts";

export type ProcessedDependencies = {
  processed: Pick<ProcessedEvents, "mark" | "find">;
  catalog: Pick<Catalog, "require" | "refresh">;
  reads: Pool;
  body: BodyReader;
};

export type ProcessedHandlers = { get: Handler; put: Handler };

export const MarkInput = Type.Object(
  { token: Type.String({ maxLength: 200, description: "The token of the delivery that was processed" }) },
  { additionalProperties: false },
);

const readMark = createJsonReader(MarkInput);

/** The handlers for subscriptions, or for the built-in queues of streams. */
export function processedHandlers(
  { processed, catalog, reads, body }: ProcessedDependencies,
  of: "subscription" | "queue",
): ProcessedHandlers {
  async function find({ params, principal }: Exchange): Promise<Subscription | null> {
    if (of === "queue") return visibleQueue(catalog, reads, principal, params.name);
    const subscription = await catalog.require(readSubscriptionName(params.name ?? ""));
    const refused = subscription.streams?.find((stream) => !principal.canRead(stream));
    if (refused !== undefined) throw forbidden(`Consuming stream ${refused} is not allowed`);
    return subscription;
  }

  /** `subscription` is null of a queue that nobody has used yet: nothing of it is marked, or out. */
  async function target(exchange: Exchange) {
    const { request, params } = exchange;
    readQuery(request, []);
    const subscription = await find(exchange);
    const source: Source = subscription === null ? { stream: params.name ?? "" } : sourceOf(subscription);
    return {
      subscription,
      source,
      consumer: readConsumerName(params.consumer ?? ""),
      eventId: readEventId(params.event ?? ""),
    };
  }

  return {
    async get(exchange) {
      const { subscription, source, consumer, eventId } = await target(exchange);
      const found = subscription === null ? null : await processed.find(subscription, consumer, eventId);
      if (found === null) throw notProcessed(source, eventId);
      return json(print(found));
    },
    async put(exchange) {
      const { subscription, consumer, eventId } = await target(exchange);
      const { token } = await readMark(body, exchange.request);
      if (subscription === null) throw staleToken("Nothing of the queue has been handed out yet");
      const { isNew, ...mark } = await processed.mark(subscription, consumer, eventId, token);
      return json(print(mark), isNew ? 201 : 200);
    },
  };
}

const print = ({ eventId, consumer, at }: Processed) => ({ processed: true, eventId, consumer, at });

/** Throws `invalid-parameter`. */
function readEventId(id: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: no id of an event has any
  if (!/^[^\u0000-\u001f\u007f]{1,1000}$/.test(id))
    throw invalidParameter("event", "The id of an event has no control characters");
  return id;
}
