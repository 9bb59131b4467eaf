// Works through the jobs of graphile-worker in this process, as its own benchmark does: until none is left.
import { Logger, makeWorkerUtils, runOnce } from "graphile-worker";
import { createTally, finish, message, options, pool, settle } from "./queue.js";

const { workers, messages } = options;
const addedAtOnce = 1_000;
const logger = new Logger(() => (level, text) => {
  if (level === "error") throw new Error(text);
});

/** The configuration with which its documentation gives its figures; the number of workers is found by trying. */
const preset = {
  worker: {
    concurrentJobs: workers,
    localQueue: { size: 500 },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
    logger,
  },
};

async function work(count) {
  const utils = await makeWorkerUtils({ pgPool: pool, logger });
  await utils.migrate();
  for (let first = 0; first < count; first += addedAtOnce) {
    const jobs = Array.from({ length: Math.min(addedAtOnce, count - first) }, (_, i) => ({
      identifier: "take",
      payload: message(first + i),
    }));
    await utils.addJobs(jobs);
  }
  await utils.release();
  await settle();
  const tally = createTally(count);
  const started = performance.now();
  await runOnce({ preset, pgPool: pool, noHandleSignals: true, taskList: { take: async (data) => tally.add(data) } });
  const tookMs = performance.now() - started;
  tally.requireAll();
  const { rows } = await pool.query("select count(*)::int as left from graphile_worker._private_jobs");
  if (rows[0].left !== 0) throw new Error(`${rows[0].left} jobs were not completed`);
  return count / (tookMs / 1_000);
}

await work(Math.min(messages, 2_000));
await finish({ perSecond: await work(messages) });
