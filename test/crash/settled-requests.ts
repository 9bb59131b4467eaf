// Requests that may be repeated: each on a connection of its own, at any of the services, until the outcome is known.
import { setTimeout as sleep } from "node:timers/promises";
import type { History } from "./history.ts";
import { createHttpConnection, type HttpRequest } from "./http-connection.ts";
import type { Random } from "./random.ts";

export type Repeatable = {
  /** For an alarm. */
  what: string;
  path: string;
  body: object;
  key?: string;
  correlation?: string;
};

/** What one attempt came to. */
export type AttemptOutcome = {
  outcome: "acknowledged" | "refused" | "unknown";
  status: number | null;
  /** The problem's code, or what broke. */
  reason: string | null;
  body: string;
};

/** Notes an attempt before it is made; returns what notes its outcome. */
export type Noting = () => (outcome: AttemptOutcome) => void;

export type SettledRequests = {
  attempt: (request: Repeatable, noting: Noting) => Promise<AttemptOutcome>;
  /** Attempts until the outcome is known. */
  settle: (request: Repeatable, noting: Noting) => Promise<AttemptOutcome>;
};

export type SettledRequestsOptions = {
  history: History;
  random: Random;
  ports: readonly number[];
  /** Fires when nobody can expect an outcome any more. */
  giveUp: AbortSignal;
};

// Above the service's own limits, and above the time of a command's handler.
const silenceMs = 8_000;

export const notNoted: Noting = () => () => {};

export function createSettledRequests({ history, random, ports, giveUp }: SettledRequestsOptions): SettledRequests {
  async function attempt({ path, body, key, correlation }: Repeatable, noting: Noting): Promise<AttemptOutcome> {
    const connection = createHttpConnection(random.pick(ports));
    const done = noting();
    let outcome: AttemptOutcome;
    try {
      const headers: HttpRequest["headers"] = {
        "content-type": "application/json",
        ...(key === undefined ? {} : { "idempotency-key": key }),
        ...(correlation === undefined ? {} : { "correlation-id": correlation }),
      };
      outcome = read(await connection.send({ method: "POST", path, headers, body: JSON.stringify(body), silenceMs }));
    } catch (error) {
      outcome = { outcome: "unknown", status: null, reason: (error as Error).message, body: "" };
    }
    done(outcome);
    connection.close();
    // A service that is away is not asked as fast as one can.
    if (outcome.status === null) await sleep(random.between(50, 200));
    return outcome;
  }

  return {
    attempt,
    async settle(request, noting) {
      for (;;) {
        const outcome = await attempt(request, noting);
        if (outcome.outcome !== "unknown") return outcome;
        if (giveUp.aborted) {
          history.alarm(`${request.what} never had an outcome: ${outcome.status} ${outcome.reason}`);
          return outcome;
        }
        await sleep(random.between(20, 200));
      }
    },
  };
}

function read({ status, body }: { status: number; body: string }): AttemptOutcome {
  if (status < 300) return { outcome: "acknowledged", status, reason: null, body };
  const problem = JSON.parse(body) as { type?: string };
  const reason = problem.type?.replace("/problems/", "") ?? "";
  // Another attempt of the same request is under way.
  const isOpen = status >= 500 || reason === "idempotency-key-in-use";
  return { outcome: isOpen ? "unknown" : "refused", status, reason, body };
}
