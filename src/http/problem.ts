// Turns errors into application/problem+json (RFC 9457).
import {
  catalogue,
  internalError,
  outcomeUnknown,
  Problem,
  problemObject,
  storageUnavailable,
} from "../base/errors.ts";
import { classify, isOutage } from "../storage/pg-errors.ts";

const problemType = "application/problem+json";

/**
 * The problem that a thrown value is: of the catalogue as it is, a database that is away as such, all else the service's
 * failure. A broken connection leaves open what a request that is not `safe` (RFC 9110, section 9.2.1) has done.
 */
export function toProblem(error: unknown, safe: boolean): Problem {
  if (error instanceof Problem) return error;
  if (!safe && classify(error).kind === "unknown") return outcomeUnknown(error);
  if (isOutage(error)) return storageUnavailable("The database is not available; the request changed nothing", error);
  return internalError(error);
}

export function problemResponse(problem: Problem, instance: string, headers: Record<string, string> = {}): Response {
  const { status } = catalogue[problem.code];
  return new Response(JSON.stringify(problemObject(problem, instance)), {
    status,
    headers: {
      "content-type": problemType,
      "cache-control": "no-store",
      ...(status === 503 ? { "retry-after": "1" } : {}),
      ...(problem.code === "lock-held" ? { "retry-after": String(problem.fields.retryAfter) } : {}),
      // What is left of the body is not read: the connection cannot serve another request.
      ...(status === 408 || status === 413 ? { connection: "close" } : {}),
      ...(problem.code === "method-not-allowed" ? { allow: String(problem.fields.allow) } : {}),
      ...headers,
    },
  });
}
