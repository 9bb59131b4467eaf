// What every controller needs of a request, and how it answers.
import { uuidv7 } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import { everyone, type Principal } from "../base/principal.ts";
import type { Cors } from "./cors.ts";
import { problemResponse, toProblem } from "./problem.ts";

export type Exchange = {
  request: Request;
  params: Record<string, string>;
  principal: Principal;
  /** The client's, or a new one; the same at every call. */
  requestId: () => string;
};

export type Handler = (exchange: Exchange) => Response | Promise<Response>;

export type Edge = (handler: Handler) => (context: { request: Request; params?: unknown }) => Promise<Response>;

/** Wraps handlers: names each request, finds who asks, and answers whatever is thrown as a problem, to other origins too. */
export function createEdge(log: Log, cors: Cors): Edge {
  const verbose = log.isLevelEnabled("debug");
  return (handler) => async (context) => {
    const { request } = context;
    const given = request.headers.get("x-request-id");
    // Most requests are never named: an id is made when something is to be said about one.
    let id = given !== null && /^[\w.:-]{1,100}$/.test(given) ? given : null;
    const requestId = () => {
      id ??= uuidv7();
      return id;
    };
    const preflight = cors.preflight(request);
    if (preflight !== null) return preflight;
    let response: Response;
    try {
      response = await handler({
        request,
        params: (context.params ?? {}) as Record<string, string>,
        principal: everyone,
        requestId,
      });
    } catch (error) {
      // What a client's leaving broke off is no failure; nobody reads the answer.
      if (request.signal.aborted && isAbort(error, request.signal)) return new Response(null, { status: 499 });
      response = answerProblem(error, request, requestId(), log);
    }
    if (id !== null) response.headers.set("x-request-id", id);
    cors.expose(request, response.headers);
    if (verbose)
      log.debug(
        { requestId: requestId(), method: request.method, url: request.url, status: response.status },
        "request",
      );
    return response;
  };
}

function isAbort(error: unknown, signal: AbortSignal): boolean {
  return error === signal.reason || (error instanceof Error && error.name === "AbortError");
}

/** The answer to a thrown value; what is the service's own fault is logged with its cause. */
export function answerProblem(error: unknown, request: Request, requestId: string, log: Log): Response {
  const problem = toProblem(error, request.method === "GET" || request.method === "HEAD");
  if (problem.status >= 500) {
    const level = problem.code === "internal-error" ? "error" : "warn";
    log[level](
      { err: problem.cause ?? problem, requestId, method: request.method, url: request.url, code: problem.code },
      "request failed",
    );
  }
  return problemResponse(problem, `urn:request:${requestId}`);
}

export function json(value: unknown, status = 200, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(value), { status, headers: { "content-type": "application/json", ...headers } });
}
