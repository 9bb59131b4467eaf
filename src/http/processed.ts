// /api/subscriptions/{id}/consumers/{consumer}/processed/{event}: whether an event was processed, and that it is.
import { Type } from "@sinclair/typebox";
import { forbidden, invalidParameter, notProcessed } from "../base/errors.ts";
import type { Processed, ProcessedEvents } from "../subscription/exactly-once/processed.ts";
import type { Catalog } from "../subscription/registry/catalog.ts";
import type { Subscription } from "../subscription/registry/subscription.ts";
import type { BodyReader } from "./body.ts";
import { type Exchange, type Handler, json } from "./context.ts";
import { createJsonReader } from "./json-body.ts";
import { readConsumerName, readQuery, readSubscriptionName } from "./parameters.ts";

export type ProcessedDependencies = {
  processed: Pick<ProcessedEvents, "mark" | "find">;
  catalog: Pick<Catalog, "require">;
  body: BodyReader;
};

export type ProcessedHandlers = { get: Handler; put: Handler };

export const MarkInput = Type.Object(
  { token: Type.String({ maxLength: 200, description: "The token of the delivery that was processed" }) },
  { additionalProperties: false },
);

const readMark = createJsonReader(MarkInput);

export function processedHandlers({ processed, catalog, body }: ProcessedDependencies): ProcessedHandlers {
  async function target({ request, params, principal }: Exchange) {
    readQuery(request, []);
    const subscription: Subscription = await catalog.require(readSubscriptionName(params.name ?? ""));
    const refused = subscription.streams?.find((stream) => !principal.canRead(stream));
    if (refused !== undefined) throw forbidden(`Consuming stream ${refused} is not allowed`);
    return {
      subscription,
      consumer: readConsumerName(params.consumer ?? ""),
      eventId: readEventId(params.event ?? ""),
    };
  }

  return {
    async get(exchange) {
      const { subscription, consumer, eventId } = await target(exchange);
      const found = await processed.find(subscription, consumer, eventId);
      if (found === null) throw notProcessed(subscription.name, eventId);
      return json(print(found));
    },
    async put(exchange) {
      const { subscription, consumer, eventId } = await target(exchange);
      const { token } = await readMark(body, exchange.request);
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
