// /api/sagas: starting sagas, how they stand, and what people may do with them.
import { forbidden, invalidParameter, sagaNotFound } from "../base/errors.ts";
import { contentHash } from "../base/ids.ts";
import type { Principal } from "../base/principal.ts";
import type { Flag } from "../workflow/sagas/calls.ts";
import { sagaStates } from "../workflow/sagas/progress.ts";
import type { FoundSaga } from "../workflow/sagas/register.ts";
import { streamOf } from "../workflow/sagas/saga-events.ts";
import type { Sagas } from "../workflow/sagas/sagas.ts";
import { type BodyReader, decodeUtf8 } from "./body.ts";
import { type Exchange, type Handler, json } from "./context.ts";
import { readCorrelationId } from "./correlation-id.ts";
import { parseJson } from "./json-body.ts";
import { readIdempotencyKey, readNumber, readQuery, readText } from "./parameters.ts";

export type SagasDependencies = {
  sagas: Pick<Sagas, "start" | "find" | "list" | "flag" | "retry">;
  body: BodyReader;
};

export type SagasHandlers = Record<"start" | "list" | "status" | "pause" | "resume" | "cancel" | "retry", Handler>;

export function sagasHandlers({ sagas, body }: SagasDependencies): SagasHandlers {
  /** The saga of the path. Throws `saga-not-found`, also for one that the principal may not see. */
  async function visible({ params, principal }: Exchange): Promise<FoundSaga> {
    const id = params.saga ?? "";
    const found = await sagas.find(id);
    if (!principal.canRead(streamOf(found.status.saga))) throw sagaNotFound(id);
    return found;
  }

  async function managed(exchange: Exchange): Promise<string> {
    readQuery(exchange.request, []);
    const { saga, sagaId } = (await visible(exchange)).status;
    requireRight(exchange.principal.canManage(streamOf(saga)), `Managing the saga ${saga}`);
    return sagaId;
  }

  const flagging =
    (flag: Flag): Handler =>
    async (exchange) =>
      answer(await sagas.flag(await managed(exchange), flag), flag === "cancel" ? 202 : 200);

  return {
    async start({ request, params, principal }) {
      const saga = params.saga ?? "";
      requireRight(principal.canAppend(streamOf(saga)), `Starting the saga ${saga}`);
      const correlationId = readCorrelationId(request, "correlationid", "Correlation-Id");
      const key = readIdempotencyKey(request.headers);
      const bytes = await body.bytes(request);
      const started = await sagas.start({
        saga,
        input: parseJson(decodeUtf8(bytes)),
        correlationId,
        idempotency: key === null ? null : { key, requestHash: contentHash([saga, correlationId ?? "", bytes]) },
        principal: principal.name,
      });
      return json(started, 202, { location: `/api/sagas/${started.sagaId}/status` });
    },
    async list({ request, principal }) {
      const query = readQuery(request, ["state", "correlation", "saga", "after", "limit"]);
      const { sagas: page, next } = await sagas.list({
        saga: readText(query, "saga"),
        state: readState(query),
        correlation: readText(query, "correlation"),
        before: readNumber(query, "after", null, Number.MAX_SAFE_INTEGER),
        limit: readNumber(query, "limit", 100, 1_000),
      });
      const following = new URLSearchParams(query);
      following.set("after", String(next));
      return json({
        sagas: page.filter(({ saga }) => canSee(principal, saga)),
        next: next === null ? null : `${new URL(request.url).pathname}?${following}`,
      });
    },
    async status(exchange) {
      readQuery(exchange.request, []);
      return answer(await visible(exchange), 200);
    },
    pause: flagging("pause"),
    resume: flagging("resume"),
    cancel: flagging("cancel"),
    retry: async (exchange) => answer(await sagas.retry(await managed(exchange)), 202),
  };
}

const canSee = (principal: Principal, saga: string) => principal.canRead(streamOf(saga));

const answer = ({ status, data }: FoundSaga, code: number) => json({ ...status, data }, code);

function requireRight(isAllowed: boolean, what: string): void {
  if (!isAllowed) throw forbidden(`${what} is not allowed`);
}

function readState(query: URLSearchParams) {
  const text = query.get("state");
  if (text === null) return null;
  const state = sagaStates.find((one) => one === text);
  if (state === undefined) throw invalidParameter("state", `state is one of ${sagaStates.join(", ")}`);
  return state;
}
