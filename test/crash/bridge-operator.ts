// Who looks after the mirrors: registers a schema late, and has dead letters tried again.
import { setTimeout as sleep } from "node:timers/promises";
import { bridgedStreams, lateType, strictSchema } from "./bridged.ts";
import type { History } from "./history.ts";
import type { Random } from "./random.ts";
import { createRequests } from "./requests.ts";

export type BridgeOperator = {
  /** Resolves when it is stopped and the schema is registered. */
  run: (durationMs: number) => Promise<void>;
  /** Has all dead letters of strict mirrors tried again. */
  putBack: () => Promise<void>;
};

export type BridgeOperatorOptions = {
  history: History;
  random: Random;
  /** Of the mirroring service. */
  ports: readonly number[];
  stop: AbortSignal;
  giveUp: AbortSignal;
};

export function createBridgeOperator(options: BridgeOperatorOptions): BridgeOperator {
  const { history, random, ports, stop, giveUp } = options;
  const request = createRequests({ random, ports, silenceMs: 8_000 });
  const rest = (ms: number) => sleep(ms, undefined, { signal: stop }).catch(() => {});

  /** Until it is done. */
  async function carryOut(method: "PUT" | "POST", path: string, body: object): Promise<void> {
    for (;;) {
      const answer = await request(method, path, body).catch(() => null);
      if (answer !== null && answer.status < 300) return;
      if (giveUp.aborted) return history.alarm(`${method} ${path} was never done: ${answer?.status} ${answer?.body}`);
      await sleep(100);
    }
  }

  async function putBack(): Promise<void> {
    for (const { mirror } of bridgedStreams.filter(({ isStrict }) => isStrict)) {
      await carryOut("POST", `/api/remote-streams/${mirror}/dead-letters/replay`, { all: true });
      history.add({ kind: "put-back", at: history.now(), mirror });
    }
  }

  return {
    async run(durationMs) {
      await rest(durationMs * (0.3 + 0.3 * random.next()));
      await carryOut("PUT", `/api/schemas/${lateType}/versions/1`, { schema: strictSchema });
      while (!stop.aborted) {
        await rest(random.between(1_000, 8_000));
        if (!stop.aborted) await putBack();
      }
    },
    putBack,
  };
}
