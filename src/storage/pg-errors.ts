// Tells what a failure of the database means for the request that met it.

/**
 * - `refused`: the data of the statement is at fault; nothing was stored.
 * - `no-partition`: the log has no partition for the next position; nothing was stored.
 * - `retry`: the transaction was rolled back for a passing reason; the same statement may succeed now.
 * - `unavailable`: the statement certainly had no effect, and the database cannot serve now.
 * - `unknown`: the connection broke; the statement may have been committed.
 * - `defect`: anything else.
 */
export type FailureKind = "refused" | "no-partition" | "retry" | "unavailable" | "unknown" | "defect";

/** SQLSTATE of `outbox_hold`: rows of the outbox are gone, or held by somebody else. */
export const rowsNotHeld = "SL011";

/** SQLSTATE of `projection_advance`: the generation is paused, is no more, or stands elsewhere. */
export const generationElsewhere = "SL012";

/** SQLSTATE of `remote_hold`: somebody else has moved the mirror. */
export const mirrorMoved = "SL013";

export type PgFailure = { kind: FailureKind; code: string; message: string };

/** What the guard of a pool throws when a statement got no answer in time and its connection was given up. */
export class StalledConnection extends Error {
  readonly code = "STALLED";
}

// Node's and postgres.js's codes for a connection that was never there: nothing can have been sent.
const neverConnected = new Set([
  "ECONNREFUSED",
  "ENOENT",
  "ENOTFOUND",
  "EAI_AGAIN",
  "CONNECT_TIMEOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
]);

/** Classifies what a statement rejected with: SQLSTATE classes of PostgreSQL (appendix A), or a connection's code. */
export function classify(error: unknown): PgFailure {
  const { code = "", message = String(error) } = (typeof error === "object" && error !== null ? error : {}) as {
    code?: string;
    message?: string;
  };
  return { kind: kindOf(String(code), message), code: String(code), message };
}

function kindOf(code: string, message: string): FailureKind {
  if (code === "23514" && message.includes("no partition of relation")) return "no-partition";
  // Who answered the command meanwhile is found by the next look.
  if (code === "23505" && message.includes("command_answers_pkey")) return "retry";
  if (/^(22|23|54)...$/.test(code)) return "refused";
  if (code === rowsNotHeld || code === generationElsewhere || code === mirrorMoved) return "refused";
  if (code === "40001" || code === "40P01" || code === "55P03") return "retry";
  // Start-up and shut-down, too many connections, no resources, read-only standby, cancelled statement.
  if (/^(53...|57P03|57014|25006|28...|3D000)$/.test(code)) return "unavailable";
  if (neverConnected.has(code)) return "unavailable";
  // An administrator's or a crash's end of the session, a broken or stalled connection.
  if (/^(57P0[0-2]|08...|CONNECTION_.*|STALLED|ECONNRESET|EPIPE|ETIMEDOUT|ERR_.*)$/.test(code)) return "unknown";
  return "defect";
}

/** Whether the failure comes from the database being away, and not from what was asked of it. */
export function isOutage(error: unknown): boolean {
  const { kind } = classify(error);
  return kind === "unavailable" || kind === "unknown" || kind === "retry";
}

/** Whether the server cancelled a statement, as it does at its time limit. */
export function isTooSlow(error: unknown): boolean {
  return classify(error).code === "57014";
}
