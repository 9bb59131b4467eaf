// Works through a queue of pg-boss in this process: workers that fetch a batch, complete it, and fetch the next.
import { PgBoss } from "pg-boss";
import { createTally, fail, finish, message, options, pool, settle } from "./queue.js";

const { workers, batch, messages, seconds } = options;
const sentAtOnce = 1_000;

const boss = new PgBoss({
  db: { executeSql: (text, values) => pool.query(text, values) },
  // Nothing of it is about handing out messages.
  supervise: false,
  schedule: false,
});
boss.on("error", fail);

/** Works through a new queue until it is empty, or for some seconds; returns how many a second were completed. */
async function work(name, count, forSeconds) {
  // A table of its own: what it recommends for a large queue.
  await boss.createQueue(name, { partition: true });
  for (let first = 0; first < count; first += sentAtOnce) {
    const jobs = Array.from({ length: Math.min(sentAtOnce, count - first) }, (_, i) => ({ data: message(first + i) }));
    await boss.insert(name, jobs);
  }
  await settle();
  const tally = createTally(count);
  let completed = 0;
  const started = performance.now();
  const worker = async () => {
    while (performance.now() - started < forSeconds * 1_000) {
      const jobs = await boss.fetch(name, { batchSize: batch });
      if (jobs.length === 0) return;
      for (const job of jobs) tally.add(job.data);
      const { affected } = await boss.complete(
        name,
        jobs.map(({ id }) => id),
      );
      if (affected !== jobs.length) throw new Error(`${affected} of ${jobs.length} were completed`);
      completed += affected;
    }
  };
  await Promise.all(Array.from({ length: workers }, worker));
  const tookMs = performance.now() - started;
  if (forSeconds === Number.POSITIVE_INFINITY) tally.requireAll();
  else if (completed === count) throw new Error("the queue ran empty: there were too few messages");
  if (completed !== tally.count()) throw new Error(`${completed} of ${tally.count()} fetched were completed`);
  await boss.deleteQueue(name);
  return completed / (tookMs / 1_000);
}

await boss.start();
const run = `${process.pid}`;
await work(`warm-up-${run}`, Math.min(messages, 2_000), Number.POSITIVE_INFINITY);
const perSecond = await work(`queue-${run}`, messages, seconds ?? Number.POSITIVE_INFINITY);
await boss.stop({ graceful: false });
await finish({ perSecond });
