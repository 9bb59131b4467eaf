// Consuming by request: claims, and what becomes of them: acks, nacks, extensions.
import { type Static, Type } from "@sinclair/typebox";
import { forbidden, invalidRequest } from "../base/errors.ts";
import type { Principal } from "../base/principal.ts";
import { oneOf, saying } from "../base/schema.ts";
import { envelope, type SchemaLinks } from "../stream/event.ts";
import type { Consumption } from "../subscription/consumption.ts";
import type { Delivery } from "../subscription/ledger/delivery.ts";
import type { Settlements } from "../subscription/ledger/settlements.ts";
import type { Catalog } from "../subscription/registry/catalog.ts";
import { consumerName, isPerConsumer, type Subscription } from "../subscription/registry/subscription.ts";
import type { BodyReader } from "./body.ts";
import { type Exchange, type Handler, json } from "./context.ts";
import { createJsonReader, durationOf } from "./json-body.ts";
import { readQuery, readStreamName, readSubscriptionName } from "./parameters.ts";

export type ClaimsDependencies = {
  consumption: Consumption;
  catalog: Catalog;
  settlements: Pick<Settlements, "acknowledge" | "giveBack" | "extend">;
  schemas: SchemaLinks;
  body: BodyReader;
};

export type ClaimsHandlers = { claim: Handler; acknowledge: Handler; giveBack: Handler; extend: Handler };

const hourMs = 3_600_000;
const maxWaitMs = 60_000;
const defaultConsumer = "default";

const Consumer = Type.String({
  pattern: consumerName.source,
  description: "Who asks: 1 to 200 of A-Z a-z 0-9 . _ - : @",
  ...saying("must be 1 to 200 of A-Z a-z 0-9 . _ - : @"),
});

export const ClaimInput = Type.Object(
  {
    consumer: Type.Optional(Consumer),
    max: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000, default: 1, description: "Events at most" })),
    wait: Type.Optional(
      Type.String({
        default: "0s",
        description: "How long to wait for the first event, at most 60s; the answer comes as soon as there is one",
      }),
    ),
    visibilityTimeout: Type.Optional(
      Type.String({ description: "How long they are the consumer's, 100ms to 12h. Default: the subscription's" }),
    ),
  },
  { additionalProperties: false },
);

const Tokens = Type.Array(Type.String({ maxLength: 200 }), {
  maxItems: 5_000,
  description: "Tokens of deliveries",
});
const Holder = Type.Optional(
  Type.String({
    pattern: consumerName.source,
    description: "The consumer: tokens of another one's deliveries are stale then",
  }),
);

export const AckInput = Type.Object({ tokens: Tokens, consumer: Holder }, { additionalProperties: false });

export const NackInput = Type.Object(
  {
    tokens: Tokens,
    consumer: Holder,
    action: Type.Optional(
      oneOf(["requeue", "dead-letter", "drop"], {
        default: "requeue",
        description:
          "requeue: another attempt, or a dead letter when there were as many as are allowed; dead-letter: at once; drop: settled",
      }),
    ),
    delay: Type.Optional(
      Type.String({ description: "Before the next attempt, 0s to 24h. Default: the subscription's backoff" }),
    ),
    reason: Type.Optional(
      Type.String({
        maxLength: 1_000,
        description:
          "Stands in the dead letter as lastError, and as firstError of the first attempt; its reason is rejected or max-attempts",
      }),
    ),
  },
  { additionalProperties: false },
);

export const ExtensionInput = Type.Object(
  {
    tokens: Tokens,
    consumer: Holder,
    visibilityTimeout: Type.Optional(
      Type.String({ description: "From now on, 100ms to 12h. Default: the subscription's" }),
    ),
  },
  { additionalProperties: false },
);

const readClaim = createJsonReader(ClaimInput);
const readAck = createJsonReader(AckInput);
const readNack = createJsonReader(NackInput);
const readExtension = createJsonReader(ExtensionInput);

/** The handlers for subscriptions, or for the built-in queues of streams. */
export function claimsHandlers(
  { consumption, catalog, settlements, schemas, body }: ClaimsDependencies,
  of: "subscription" | "queue",
): ClaimsHandlers {
  async function target({ request, params, principal }: Exchange): Promise<Subscription> {
    readQuery(request, []);
    if (of === "subscription")
      return allowed(principal, await catalog.require(readSubscriptionName(params.name ?? "")));
    const stream = readStreamName(params.name ?? "");
    if (!principal.canRead(stream)) throw forbidden(`Consuming stream ${stream} is not allowed`);
    return consumption.queue(stream);
  }

  const listOf = (subscription: Subscription, input: Static<typeof AckInput>) => ({
    subscription: subscription.id,
    consumer: input.consumer ?? null,
    tokens: input.tokens,
  });

  return {
    async claim(exchange) {
      const subscription = await target(exchange);
      const input = await readClaim(body, exchange.request);
      if (input.consumer === undefined && isPerConsumer(subscription.mode))
        throw invalidRequest([
          {
            path: "/consumer",
            message: `must be given: each consumer of a ${subscription.mode} subscription has its own events`,
          },
        ]);
      const { deliveries, completed } = await consumption.claim(subscription.name, {
        consumer: input.consumer ?? defaultConsumer,
        max: input.max ?? 1,
        visibilityTimeoutMs:
          input.visibilityTimeout === undefined
            ? null
            : durationOf("/visibilityTimeout", input.visibilityTimeout, 100, 12 * hourMs),
        autoAcknowledge: false,
        waitMs: durationOf("/wait", input.wait ?? "0s", 0, maxWaitMs),
        signal: exchange.request.signal,
      });
      const over = completed ? ',"completed":true' : "";
      return new Response(
        `{"deliveries":[${deliveries.map((delivery) => print(delivery, schemas)).join(",")}]${over}}`,
        {
          headers: { "content-type": "application/json" },
        },
      );
    },
    async acknowledge(exchange) {
      const subscription = await target(exchange);
      const input = await readAck(body, exchange.request);
      return json({ results: await settlements.acknowledge(listOf(subscription, input)) });
    },
    async giveBack(exchange) {
      const subscription = await target(exchange);
      const input = await readNack(body, exchange.request);
      const results = await settlements.giveBack(listOf(subscription, input), {
        action: input.action ?? "requeue",
        delayMs: input.delay === undefined ? null : durationOf("/delay", input.delay, 0, 24 * hourMs),
        reason: input.reason ?? "nacked without a reason",
      });
      return json({ results });
    },
    async extend(exchange) {
      const subscription = await target(exchange);
      const input = await readExtension(body, exchange.request);
      const extensionMs =
        input.visibilityTimeout === undefined
          ? subscription.visibilityTimeoutMs
          : durationOf("/visibilityTimeout", input.visibilityTimeout, 100, 12 * hourMs);
      return json(await settlements.extend(listOf(subscription, input), extensionMs));
    },
  };
}

/** Throws `forbidden`. */
function allowed(principal: Principal, subscription: Subscription): Subscription {
  const refused = subscription.streams?.find((stream) => !principal.canRead(stream));
  if (refused !== undefined) throw forbidden(`Consuming stream ${refused} is not allowed`);
  return subscription;
}

/** A delivery as JSON; an envelope is one already. */
function print({ event, token, attempt, deadline }: Delivery, schemas: SchemaLinks): string {
  const until = deadline === null ? "null" : `"${deadline}"`;
  return `{"event":${envelope(event, schemas)},"token":"${token}","attempt":${attempt},"deadline":${until}}`;
}
