// /api/outbox: how many rows wait, and those that could not become events: listed, tried again, discarded.
import { Type } from "@sinclair/typebox";
import { forbidden, invalidRequest } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Pool } from "../storage/pool.ts";
import {
  type Choice,
  countedTo,
  discardFailed,
  listFailed,
  readStanding,
  retryFailed,
} from "../stream/outbox/standing.ts";
import type { BodyReader } from "./body.ts";
import { type Handler, json } from "./context.ts";
import { createJsonReader } from "./json-body.ts";
import { readAfter, readNumber, readQuery } from "./parameters.ts";

export type OutboxDependencies = {
  reads: Pool;
  writes: Pool;
  body: BodyReader;
  /** Rows wait that did not before. */
  wake: () => void;
  log: Log;
};

export type OutboxHandlers = { get: Handler; failures: Handler; retry: Handler; discard: Handler };

export const FailureChoice = Type.Object(
  {
    ids: Type.Optional(
      Type.Array(Type.String({ pattern: "^[0-9]{1,15}$" }), {
        minItems: 1,
        maxItems: 1_000,
        description: "Ids of rows; those that are not there, or have not failed, are passed over",
      }),
    ),
    all: Type.Optional(Type.Literal(true, { description: "Instead of ids: all that there are now" })),
  },
  { additionalProperties: false },
);

const readBody = createJsonReader(FailureChoice);
/** What is said of rows of all streams together; of the rows themselves, each is a matter of its stream. */
const scope = "sluice.outbox";

export function outboxHandlers({ reads, writes, body, wake, log }: OutboxDependencies): OutboxHandlers {
  async function readChoice(request: Request): Promise<Choice> {
    readQuery(request, []);
    const { ids, all } = await readBody(body, request);
    if ((ids === undefined) === (all === undefined))
      throw invalidRequest([{ path: "", message: "must have ids, or all" }]);
    return ids === undefined ? { all: true } : { ids: ids.map(Number) };
  }

  return {
    async get({ request, principal }) {
      readQuery(request, []);
      if (!principal.canRead(scope)) throw forbidden("Reading how the outbox stands is not allowed");
      const { waiting, waitingSince, failed } = await readStanding(reads);
      const count = (value: number) => ({ count: String(value), atLeast: value >= countedTo });
      return json({ waiting: { ...count(waiting), since: waitingSince }, failed: count(failed) });
    },
    async failures({ request, principal }) {
      const query = readQuery(request, ["after", "limit"]);
      const page = { after: readAfter(query) ?? 0, limit: readNumber(query, "limit", 100, 1_000) };
      const { failures, next } = await listFailed(reads, principal, page);
      const following = new URLSearchParams(query);
      following.set("after", String(next));
      return json({
        failures: failures.map((failure) => ({ ...failure, id: String(failure.id) })),
        next: next === null ? null : `/api/outbox/failures?${following}`,
      });
    },
    async retry({ request, principal, requestId }) {
      const retried = await retryFailed(writes, principal, await readChoice(request));
      if (retried > 0) wake();
      log.info({ requestId: requestId(), retried }, "rows of the outbox are tried again");
      return json({ retried });
    },
    async discard({ request, principal, requestId }) {
      const discarded = await discardFailed(writes, principal, await readChoice(request));
      log.info({ requestId: requestId(), discarded }, "rows of the outbox discarded");
      return json({ discarded });
    },
  };
}
