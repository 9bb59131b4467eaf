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
};

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
  policy.onBreak(() => log.warn("JetStream does not answer: it is asked again later"));
  policy.onHalfOpen(() => log.debug("JetStream is asked again"));
  policy.onReset(() => log.info("JetStream answers again"));
  return {
    run: (task) =>
      policy.execute(task).catch((error: unknown) => {
        if (isBrokenCircuitError(error))
          throw new NatsUnavailable("JetStream did not answer several times in a row: it is asked again later");
        throw error;
      }),
    state() {
      if (policy.state === CircuitState.Closed) return "closed";
      return policy.state === CircuitState.HalfOpen ? "half-open" : "open";
    },
  };
}
