// /api/subscriptions/{id}/consumers: registers, lists, describes and removes consumers; resets cursors.
import { Type } from "@sinclair/typebox";
import { invalidRequest } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Pool } from "../storage/pool.ts";
import type { LogReader } from "../stream/range.ts";
import type { Catalog } from "../subscription/registry/catalog.ts";
import { describeConsumer, listConsumers } from "../subscription/registry/consumers.ts";
import { describeSubscription } from "../subscription/registry/description.ts";
import type { Membership } from "../subscription/registry/membership.ts";
import type { Reset } from "../subscription/registry/reset.ts";
import { positionBefore } from "../subscription/registry/start-place.ts";
import { isPerConsumer } from "../subscription/registry/subscription.ts";
import type { BodyReader } from "./body.ts";
import { type Exchange, type Handler, json } from "./context.ts";
import { createJsonReader } from "./json-body.ts";
import { readConsumerName, readNumber, readQuery } from "./parameters.ts";
import { manageableSubscription, visibleSubscription } from "./subscription-access.ts";

export type ConsumersDependencies = {
  catalog: Catalog;
  membership: Membership;
  reset: Reset;
  reader: LogReader;
  reads: Pool;
  body: BodyReader;
  log: Log;
};

export type ConsumersHandlers = {
  list: Handler;
  get: Handler;
  put: Handler;
  remove: Handler;
  heartbeat: Handler;
  reset: Handler;
  resetShared: Handler;
};

const maxMetadataBytes = 16_384;

export const ConsumerInput = Type.Object(
  {
    metadata: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), { description: "Given back as it is, at most 16 KiB" }),
    ),
    from: Type.Optional(
      Type.String({
        description:
          "Where a new consumer of a broadcast or read-receipt subscription begins: a place. Default: where the subscription began",
      }),
    ),
  },
  { additionalProperties: false },
);

export const ResetInput = Type.Object(
  {
    to: Type.String({
      description:
        "The place from which events are handed out again, or up to which they are passed over: of one stream an offset, of several a position",
    }),
  },
  { additionalProperties: false },
);

const readConsumer = createJsonReader(ConsumerInput);
const readReset = createJsonReader(ResetInput);

export function consumersHandlers(dependencies: ConsumersDependencies): ConsumersHandlers {
  const { catalog, membership, reset, reader, reads, body, log } = dependencies;

  async function named({ request, params, principal }: Exchange) {
    readQuery(request, []);
    const subscription = await visibleSubscription(catalog, principal, params.name);
    return { subscription, consumer: readConsumerName(params.consumer ?? "") };
  }

  return {
    async list({ request, params, principal }) {
      const query = readQuery(request, ["after", "limit"]);
      const subscription = await visibleSubscription(catalog, principal, params.name);
      const limit = readNumber(query, "limit", 100, 1_000);
      const after = query.get("after") ?? "";
      if (after !== "") readConsumerName(after);
      const { consumers, next } = await listConsumers(reads, subscription, { after, limit });
      const following = new URLSearchParams(query);
      if (next !== null) following.set("after", next);
      return json({ consumers, next: next === null ? null : `${new URL(request.url).pathname}?${following}` });
    },
    async get(exchange) {
      const { subscription, consumer } = await named(exchange);
      return json(await describeConsumer(reads, subscription, consumer));
    },
    async put(exchange) {
      const { subscription, consumer } = await named(exchange);
      const { metadata = {}, from } = await readConsumer(body, exchange.request);
      if (Buffer.byteLength(JSON.stringify(metadata)) > maxMetadataBytes)
        throw invalidRequest([{ path: "/metadata", message: `has at most ${maxMetadataBytes} bytes` }]);
      if (from !== undefined && !isPerConsumer(subscription.mode))
        throw invalidRequest([
          { path: "/from", message: `the consumers of a subscription that is ${subscription.mode} share its cursor` },
        ]);
      const start = from === undefined ? null : await positionBefore(reader, subscription.streams, "from", from);
      const isNew = await membership.register(subscription, consumer, metadata, start);
      return json(await describeConsumer(reads, subscription, consumer), isNew ? 201 : 200);
    },
    async remove(exchange) {
      const { subscription, consumer } = await named(exchange);
      await membership.remove(subscription, consumer);
      return new Response(null, { status: 204 });
    },
    async heartbeat(exchange) {
      const { subscription, consumer } = await named(exchange);
      await membership.heartbeat(subscription, consumer);
      return new Response(null, { status: 204 });
    },
    async reset(exchange) {
      const { request, params, principal, requestId } = exchange;
      readQuery(request, []);
      const subscription = await manageableSubscription(catalog, principal, params.name);
      const consumer = readConsumerName(params.consumer ?? "");
      const { to } = await readReset(body, request);
      await reset(subscription, consumer, to);
      log.info({ requestId: requestId(), subscription: subscription.name, consumer, to }, "cursor of a consumer reset");
      return json(await describeConsumer(reads, subscription, consumer));
    },
    async resetShared({ request, params, principal, requestId }) {
      readQuery(request, []);
      const subscription = await manageableSubscription(catalog, principal, params.name);
      const { to } = await readReset(body, request);
      await reset(subscription, null, to);
      log.info({ requestId: requestId(), subscription: subscription.name, to }, "cursor of a subscription reset");
      return json(await describeSubscription(reads, subscription));
    },
  };
}
