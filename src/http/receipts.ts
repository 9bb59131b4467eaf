// /api/subscriptions/{id}/consumers/{consumer}/unread and /read: what a consumer has not read, and that it has.
import { Type } from "@sinclair/typebox";
import { forbidden, invalidRequest } from "../base/errors.ts";
import { saying } from "../base/schema.ts";
import { envelope, type SchemaLinks } from "../stream/event.ts";
import type { Upcasting } from "../stream/schema/upcasting.ts";
import type { Reading, Receipts, UnreadCount } from "../subscription/receipts/receipts.ts";
import type { Catalog } from "../subscription/registry/catalog.ts";
import type { Subscription } from "../subscription/registry/subscription.ts";
import type { BodyReader } from "./body.ts";
import { type Exchange, type Handler, json } from "./context.ts";
import { createJsonReader } from "./json-body.ts";
import { readAfter, readBoolean, readConsumerName, readNumber, readQuery, readSubscriptionName } from "./parameters.ts";

export type ReceiptsDependencies = {
  receipts: Pick<Receipts, "unread" | "count" | "read">;
  registry: SchemaLinks;
  upcasting: Pick<Upcasting, "show">;
  catalog: Pick<Catalog, "require">;
  body: BodyReader;
};

export type ReceiptsHandlers = { unread: Handler; read: Handler };

export const ReadingInput = Type.Object(
  {
    ids: Type.Optional(
      Type.Array(Type.String({ pattern: "^[^\\u0000-\\u001f\\u007f]{1,1000}$", ...saying("must be an event's id") }), {
        minItems: 1,
        maxItems: 1_000,
        description: "Ids of events; those that are not among the unread ones are passed over",
      }),
    ),
    upTo: Type.Optional(
      Type.Union([Type.String({ pattern: "^[0-9]{1,16}$" }), Type.Integer({ minimum: 0 })], {
        description: "Everything up to this position, inclusive",
        ...saying("must be a position, such as 1042"),
      }),
    ),
    all: Type.Optional(Type.Literal(true, { description: "Everything there is now", ...saying("must be true") })),
  },
  { additionalProperties: false, description: "One of ids, upTo and all" },
);

const readReading = createJsonReader(ReadingInput);

export function receiptsHandlers({
  receipts,
  catalog,
  registry,
  upcasting,
  body,
}: ReceiptsDependencies): ReceiptsHandlers {
  async function target({ params, principal }: Exchange): Promise<{ subscription: Subscription; consumer: string }> {
    const subscription = await catalog.require(readSubscriptionName(params.name ?? ""));
    const refused = subscription.streams?.find((stream) => !principal.canRead(stream));
    if (refused !== undefined) throw forbidden(`Consuming stream ${refused} is not allowed`);
    return { subscription, consumer: readConsumerName(params.consumer ?? "") };
  }

  return {
    async unread(exchange) {
      const { request } = exchange;
      const query = readQuery(request, ["after", "limit", "count"]);
      const limit = readNumber(query, "limit", 100, 1_000);
      const after = readAfter(query) ?? -1;
      const { subscription, consumer } = await target(exchange);
      const counted = print(await receipts.count(subscription, consumer, request.signal));
      if (readBoolean(query, "count")) return json(counted);
      const { events, next } = await receipts.unread(subscription, consumer, { after, limit, signal: request.signal });
      const shown = await upcasting.show(events, subscription.receiveAs);
      const following = new URLSearchParams(query);
      following.set("after", String(next));
      const link = next === null ? null : `${new URL(request.url).pathname}?${following}`;
      const { count, atLeast } = counted;
      return new Response(
        `{"count":"${count}","atLeast":${atLeast},"events":[${shown.map((event) => envelope(event, registry)).join(",")}],"next":${JSON.stringify(link)}}`,
        { headers: { "content-type": "application/json" } },
      );
    },
    async read(exchange) {
      readQuery(exchange.request, []);
      const { subscription, consumer } = await target(exchange);
      const input = await readReading(body, exchange.request);
      const { ids, upTo, all } = input;
      if ([ids, upTo, all].filter((given) => given !== undefined).length !== 1)
        throw invalidRequest([{ path: "", message: "must have one of ids, upTo and all" }]);
      const what: Reading =
        ids !== undefined ? { ids: [...new Set(ids)] } : upTo !== undefined ? { upTo: Number(upTo) } : "all";
      return json({ read: await receipts.read(subscription, consumer, what, exchange.request.signal) });
    },
  };
}

const print = ({ count, atLeast }: UnreadCount) => ({ count: String(count), atLeast });
