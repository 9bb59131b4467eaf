// Dead letters of subscriptions and queues: lists and shows them, puts them back, discards them.
import { Type } from "@sinclair/typebox";
import { deadLetterNotFound, invalidRequest } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Pool } from "../storage/pool.ts";
import { envelope, type SchemaLinks } from "../stream/event.ts";
import type { Choice, DeadLetter, DeadLetters } from "../subscription/dead-letters.ts";
import type { Catalog } from "../subscription/registry/catalog.ts";
import type { Subscription } from "../subscription/registry/subscription.ts";
import type { BodyReader } from "./body.ts";
import { type Exchange, type Handler, json } from "./context.ts";
import { createJsonReader } from "./json-body.ts";
import { readAfter, readNumber, readQuery } from "./parameters.ts";
import { requireManage, visibleQueue, visibleSubscription } from "./subscription-access.ts";

export type DeadLettersDependencies = {
  deadLetters: DeadLetters;
  catalog: Catalog;
  schemas: SchemaLinks;
  reads: Pool;
  body: BodyReader;
  log: Log;
};

export type DeadLettersHandlers = { list: Handler; get: Handler; replay: Handler; discard: Handler };

export const DeadLetterChoice = Type.Object(
  {
    ids: Type.Optional(
      Type.Array(Type.String({ pattern: "^[0-9]{1,15}$" }), {
        minItems: 1,
        maxItems: 1_000,
        description: "Ids of dead letters; those that are not there are passed over",
      }),
    ),
    all: Type.Optional(Type.Literal(true, { description: "Instead of ids: all that there are now" })),
  },
  { additionalProperties: false },
);

const readChoice = createJsonReader(DeadLetterChoice);

/** The handlers for subscriptions, or for the built-in queues of streams. */
export function deadLettersHandlers(
  { deadLetters, catalog, schemas, reads, body, log }: DeadLettersDependencies,
  of: "subscription" | "queue",
): DeadLettersHandlers {
  /** Null: a queue that nobody has used yet. */
  const target = ({ params, principal }: Exchange): Promise<Subscription | null> =>
    of === "subscription"
      ? visibleSubscription(catalog, principal, params.name)
      : visibleQueue(catalog, reads, principal, params.name);

  async function chosen(exchange: Exchange): Promise<{ subscription: Subscription | null; choice: Choice }> {
    readQuery(exchange.request, []);
    const subscription = await target(exchange);
    if (subscription !== null) requireManage(exchange.principal, subscription.streams);
    const { ids, all } = await readChoice(body, exchange.request);
    if ((ids === undefined) === (all === undefined))
      throw invalidRequest([{ path: "", message: "must have ids, or all" }]);
    return { subscription, choice: ids === undefined ? { all: true } : { ids: ids.map(Number) } };
  }

  return {
    async list(exchange) {
      const query = readQuery(exchange.request, ["after", "limit"]);
      const subscription = await target(exchange);
      const page = { after: readAfter(query) ?? 0, limit: readNumber(query, "limit", 100, 1_000) };
      const { letters, next } =
        subscription === null ? { letters: [], next: null } : await deadLetters.list(subscription.id, page);
      const following = new URLSearchParams(query);
      following.set("after", String(next));
      const link = next === null ? null : `${new URL(exchange.request.url).pathname}?${following}`;
      return answer(
        `{"deadLetters":[${letters.map((letter) => print(letter, schemas)).join(",")}],"next":${JSON.stringify(link)}}`,
      );
    },
    async get(exchange) {
      readQuery(exchange.request, []);
      const subscription = await target(exchange);
      const id = exchange.params.id ?? "";
      if (subscription === null || !/^\d{1,15}$/.test(id))
        throw deadLetterNotFound(exchange.params.name ?? "", id.slice(0, 100));
      return answer(
        print(await deadLetters.get({ id: subscription.id, name: exchange.params.name ?? "" }, Number(id)), schemas),
      );
    },
    async replay(exchange) {
      const { subscription, choice } = await chosen(exchange);
      const replayed =
        subscription === null ? 0 : await deadLetters.replay(subscription.id, choice, exchange.request.signal);
      log.info({ requestId: exchange.requestId(), [of]: exchange.params.name, replayed }, "dead letters put back");
      return json({ replayed });
    },
    async discard(exchange) {
      const { subscription, choice } = await chosen(exchange);
      const discarded =
        subscription === null ? 0 : await deadLetters.discard(subscription.id, choice, exchange.request.signal);
      log.info({ requestId: exchange.requestId(), [of]: exchange.params.name, discarded }, "dead letters discarded");
      return json({ discarded });
    },
  };
}

function answer(text: string): Response {
  return new Response(text, { headers: { "content-type": "application/json" } });
}

/** A dead letter as JSON; an envelope is one already. */
function print({ id, event, ...rest }: DeadLetter, schemas: SchemaLinks): string {
  return `{"id":"${id}","event":${envelope(event, schemas)},${JSON.stringify(rest).slice(1)}`;
}
