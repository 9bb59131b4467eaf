// The circuit breaker around questions to JetStream: after some that nobody answered in a row, none is asked for a while.
import {
  type CircuitBreakerPolicy,
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  ExponentialBackoff,
  handleWhen,
  isBrokenCircuitError,
} from "cockatiel";
import type { Log } from "../../base/log.ts";
import { JetStreamError, NatsUnavailable, noStream } from "./jetstream.ts";

export type BreakerState = "closed" | "open" | "half-open";

/** A circuit for each stream of JetStream: one that nobody answers for, such as one without a leader, bars no other. */
export type Breaker = {
  /**
   * Asks about a stream. Rejects with what the task rejects with, and with `NatsUnavailable` while the circuit of that stream is
   * open.
   */
  run: <T>(about: string, task: () => Promise<T>) => Promise<T>;
  /** `open` where any circuit is. */
  state: () => BreakerState;
  /** A stream of which nothing is heard, and what came in place of an answer; null while all circuits are closed. */
  cause: () => string | null;
};

type Heard<T> = { answer: T } | { refusal: unknown };

const failuresInRow = 5;
const firstPauseMs = 500;
const longestPauseMs = 15_000;
const forgottenMs = 60_000;

/** What JetStream refuses for a reason of one stream is an answer: it says nothing against asking for others. */
const isSilence = (error: unknown) =>
  error instanceof NatsUnavailable || (error instanceof JetStreamError && error.code === noStream);

/** `now`: in milliseconds. */
export function createBreaker(log: Log, now: () => number = () => performance.now()): Breaker {
  /** Of those that did not answer last, and when they were asked. */
  const circuits = new Map<string, { policy: CircuitBreakerPolicy; askedMs: number }>();

  function create(about: string): CircuitBreakerPolicy {
    const policy = circuitBreaker(handleWhen(isSilence), {
      breaker: new ConsecutiveBreaker(failuresInRow),
      halfOpenAfter: new ExponentialBackoff({ initialDelay: firstPauseMs, maxDelay: longestPauseMs }),
    });
    forget();
    policy.onBreak(() =>
      log.warn({ about, reason: causeOf(policy) }, "JetStream does not answer: it is asked again later"),
    );
    policy.onHalfOpen(() => log.debug({ about }, "JetStream is asked again"));
    policy.onReset(() => log.info({ about }, "JetStream answers again"));
    return policy;
  }

  /** Those that are not closed. One that nobody asks about any more, such as that of a mirror that was removed, is none. */
  const broken = () =>
    [...circuits].filter(
      ([, { policy, askedMs }]) => policy.state !== CircuitState.Closed && now() - askedMs <= forgottenMs,
    );

  function forget(): void {
    for (const [about, { askedMs }] of circuits) if (now() - askedMs > forgottenMs) circuits.delete(about);
  }

  return {
    async run<T>(about: string, task: () => Promise<T>) {
      // A refusal ends a row of silences as any answer does: the policy sees it as one.
      const heard = () =>
        task().then(
          (answer): Heard<T> => ({ answer }),
          (refusal: unknown): Heard<T> => {
            if (isSilence(refusal)) {
              // Another question has been answered meanwhile: the row begins with this one.
              if (!circuits.has(about)) circuits.set(about, { policy, askedMs: now() });
              throw refusal;
            }
            return { refusal };
          },
        );
      const policy = circuits.get(about)?.policy ?? create(about);
      circuits.set(about, { policy, askedMs: now() });
      const found = await policy.execute(heard).catch((error: unknown) => {
        if (!isBrokenCircuitError(error)) throw error;
        throw new NatsUnavailable(
          `JetStream did not answer several times in a row, and is asked again later; the last time: ${causeOf(policy)}`,
        );
      });
      if (circuits.get(about)?.policy === policy) circuits.delete(about);
      if ("refusal" in found) throw found.refusal;
      return found.answer;
    },
    state() {
      const found = broken();
      if (found.length === 0) return "closed";
      return found.some(([, { policy }]) => policy.state === CircuitState.Open) ? "open" : "half-open";
    },
    cause() {
      const [first] = broken();
      return first === undefined ? null : `${first[0]}: ${causeOf(first[1].policy)}`;
    },
  };
}

function causeOf({ lastFailure }: CircuitBreakerPolicy): string | null {
  return lastFailure !== undefined && "error" in lastFailure ? (lastFailure.error as Error).message : null;
}
