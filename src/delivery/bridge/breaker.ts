// The circuit breaker around questions to JetStream: after some that nobody answered in a row, none is asked for a while.
import {
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

export type Breaker = {
  /** Rejects with what the task rejects with, and with `NatsUnavailable` while the circuit is open. */
  run: <T>(task: () => Promise<T>) => Promise<T>;
  state: () => BreakerState;
  /** What came in place of the last answer; null while the circuit is closed. */
  cause: () => string | null;
};

type Heard<T> = { answer: T } | { refusal: unknown };

const failuresInRow = 5;
const firstPauseMs = 500;
const longestPauseMs = 15_000;

/** What JetStream refuses for a reason of one stream is an answer: it says nothing against asking for others. */
const isSilence = (error: unknown) =>
  error instanceof NatsUnavailable || (error instanceof JetStreamError && error.code === noStream);

export function createBreaker(log: Log): Breaker {
  const policy = circuitBreaker(handleWhen(isSilence), {
    breaker: new ConsecutiveBreaker(failuresInRow),
    halfOpenAfter: new ExponentialBackoff({ initialDelay: firstPauseMs, maxDelay: longestPauseMs }),
  });
  const cause = () => {
    const failure = policy.lastFailure;
    return failure !== undefined && "error" in failure ? (failure.error as Error).message : null;
  };
  policy.onBreak(() => log.warn({ reason: cause() }, "JetStream does not answer: it is asked again later"));
  policy.onHalfOpen(() => log.debug("JetStream is asked again"));
  policy.onReset(() => log.info("JetStream answers again"));
  return {
    async run<T>(task: () => Promise<T>) {
      // A refusal ends a row of silences as any answer does: the policy sees it as one.
      const heard = () =>
        task().then(
          (answer): Heard<T> => ({ answer }),
          (refusal: unknown): Heard<T> => {
            if (isSilence(refusal)) throw refusal;
            return { refusal };
          },
        );
      const found = await policy.execute(heard).catch((error: unknown) => {
        if (!isBrokenCircuitError(error)) throw error;
        throw new NatsUnavailable(
          `JetStream did not answer several times in a row, and is asked again later; the last time: ${cause()}`,
        );
      });
      if ("refusal" in found) throw found.refusal;
      return found.answer;
    },
    state() {
      if (policy.state === CircuitState.Closed) return "closed";
      return policy.state === CircuitState.HalfOpen ? "half-open" : "open";
    },
    cause: () => (policy.state === CircuitState.Closed ? null : cause()),
  };
}
