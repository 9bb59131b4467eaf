// Turns errors into application/problem+json (RFC 9457).
import { catalogue, internalError, Problem, storageUnavailable } from "../base/errors.ts";
import { isOutage } from "../storage/pg-errors.ts";

const problemType = "application/problem+json";

/** The problem that a thrown value is: of the catalogue as it is, a database that is away as such, all else the service's failure. */
export function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (isOutage(error)) return storageUnavailable("The database is not available; the request changed nothing", error);
  return internalError(error);
}

/** The object that a client reads; no stack and no SQL is in it. */
export function problemObject(problem: Problem, instance: string): Record<string, unknown> {
  const { title, status, retryable } = catalogue[problem.code];
  return {
    type: `/problems/${problem.code}`,
    title,
    status,
    detail: problem.message,
    instance,
    retryable,
    ...problem.fields,
  };
}

export function problemResponse(problem: Problem, instance: string, headers: Record<string, string> = {}): Response {
  const { status } = catalogue[problem.code];
  return new Response(JSON.stringify(problemObject(problem, instance)), {
    status,
    headers: {
      "content-type": problemType,
      "cache-control": "no-store",
      ...(status === 503 ? { "retry-after": "1" } : {}),
      // What is left of the body is not read: the connection cannot serve another request.
      ...(status === 408 || status === 413 ? { connection: "close" } : {}),
      ...(problem.code === "method-not-allowed" ? { allow: String(problem.fields["allow"]) } : {}),
      ...headers,
    },
  });
}
