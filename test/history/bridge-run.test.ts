// What the bridge promises holds over a run under faults; `scripts/crash --bridge` runs longer ones.
import { expect, test } from "bun:test";
import { runBridge } from "../crash/bridge-run.ts";
import { natsServerPath } from "../support/nats-server.ts";

test.skipIf(natsServerPath === null)(
  "log, JetStream and mirror come to hold the same events, whatever is killed, wiped and cut in between (seed 606)",
  async () => {
    const faults = ["kill-nats", "wipe-nats", "half-open-connection", "kill-publisher", "kill-service"] as const;
    const { violations, summary, folder } = await runBridge({ seed: 606, faults, durationMs: 8_000, restMs: 400 });
    if (violations.length > 0) console.error(`${summary}\nhistory and logs: ${folder}`);
    expect(violations).toEqual([]);
  },
  180_000,
);
