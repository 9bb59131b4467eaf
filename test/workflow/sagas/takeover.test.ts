// Sagas of several processes: what a process that dies had in hand is taken over, none is lost, and nobody goes on with what is not his.
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { append, readAll } from "../../support/client.ts";
import { createTestDatabase } from "../../support/postgres.ts";
import { inShort, newCorrelation, startSaga, transitionsOf, untilSaga, untilState } from "../../support/sagas.ts";
import { type ServiceProcess, spawnService } from "../../support/service.ts";
import { openSql } from "../../support/sql.ts";
import { until } from "../../support/until.ts";

const skewedClock = new URL("../../crash/skewed-clock.ts", import.meta.url).pathname;

let folder: string;
let env: Record<string, string>;
let services: ServiceProcess[] = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-sagas-"));
  env = {
    DATABASE_URL: await createTestDatabase(),
    MODULES: new URL("./effects-module.ts", import.meta.url).pathname,
    EFFECTS: join(folder, "effects"),
    LEASE_DURATION: "600ms",
  };
});
afterEach(async () => {
  for (const service of services) service.kill("SIGKILL");
  await Promise.all(services.map(({ exited }) => exited));
  services = [];
  await rm(folder, { recursive: true });
});

async function spawn(clockSkewMs = 0): Promise<ServiceProcess> {
  const command = [process.execPath, ...(clockSkewMs === 0 ? [] : ["--preload", skewedClock])];
  const service = await spawnService({ ...env, CLOCK_SKEW_MS: String(clockSkewMs) }, command);
  services.push(service);
  return service;
}
async function kill(service: ServiceProcess): Promise<void> {
  service.kill("SIGKILL");
  await service.exited;
  services = services.filter((other) => other !== service);
}

type Effect = { sagaId: string; step: string; idempotencyKey: string; attempt: number; pid: number };
async function effects(): Promise<Effect[]> {
  const text = await readFile(env.EFFECTS as string, "utf8").catch(() => "");
  return text.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line) as Effect]));
}
const hold = (step: string) => writeFile(`${env.EFFECTS}.hold-${step}`, "");
const unhold = (step: string) => rm(`${env.EFFECTS}.hold-${step}`);
const begun = async (place: { url: string }, saga: string) => (await startSaga(place, saga)).body.sagaId;

test("a process that is killed between a step's effect and its record: another one tries again, with the same idempotency key", async () => {
  const [first, second] = [await spawn(), await spawn()];
  await hold("first");
  const id = await begun(first, "held");
  await until("the step has had its effect", async () => (await effects()).length === 1);
  await kill(first);
  await unhold("first");
  await untilState(second, id, "Completed");
  const done = await effects();
  expect(done.map(({ step, idempotencyKey, attempt }) => [step, idempotencyKey, attempt])).toEqual([
    ["first", `${id}:first`, 1],
    ["first", `${id}:first`, 2],
    ["second", `${id}:second`, 1],
  ]);
  expect(new Set(done.map(({ pid }) => pid)).size).toBe(2);
  expect(inShort(await transitionsOf(second, "held", id, "completed"))).toEqual([
    "started",
    "step-completed first",
    "step-completed second",
    "completed",
  ]);
  // What was emitted in vain is nowhere.
  const emitted = await until("what was emitted is there", async () => {
    const events = await readAll(second.url, "effects");
    return events.length >= 2 ? events : null;
  });
  expect(emitted.map(({ data }) => data)).toEqual([{ step: "first" }, { step: "second" }]);
});

test("a process that was passed over while it was stopped records nothing when it goes on", async () => {
  const [first, second] = [await spawn(), await spawn()];
  await hold("first");
  const id = await begun(first, "held");
  await until("the step has had its effect", async () => (await effects()).length === 1);
  first.kill("SIGSTOP");
  await until("the other one has taken it over", async () => (await effects()).length === 2);
  await unhold("first");
  await untilState(second, id, "Completed");
  first.kill("SIGCONT");
  const again = await begun(first, "held");
  await untilState(first, again, "Completed");
  expect((await effects()).filter(({ sagaId }) => sagaId === id)).toHaveLength(3);
  expect(inShort(await transitionsOf(second, "held", id, "completed"))).toEqual([
    "started",
    "step-completed first",
    "step-completed second",
    "completed",
  ]);
});

test("a process that ends leaves what it has in hand to the others at once", async () => {
  env.LEASE_DURATION = "5m";
  env.SHUTDOWN_TIMEOUT = "300ms";
  const [first, second] = [await spawn(), await spawn()];
  await hold("first");
  const id = await begun(first, "held");
  await until("the step has had its effect", async () => (await effects()).length === 1);
  first.kill("SIGTERM");
  expect(await first.exited).toBe(0);
  await until("the other one has taken it over", async () => (await effects()).length === 2);
  await unhold("first");
  await untilState(second, id, "Completed");
});

test("an event for a saga that waits is found, whichever processes die meanwhile", async () => {
  const correlation = newCorrelation();
  const first = await spawn();
  const headers = { "correlation-id": correlation };
  const { sagaId } = (await startSaga(first, "going", { name: "n" }, headers)).body;
  await untilSaga(first, sagaId, "waits", ({ waitingFor }) => waitingFor === "EffectsGo");
  await kill(first);
  // Nobody watches the log while this comes.
  env.MODULES = "";
  const other = await spawn();
  await append(other.url, "signals", { type: "EffectsGo", correlationid: correlation, data: {} });
  await kill(other);
  env.MODULES = new URL("./effects-module.ts", import.meta.url).pathname;
  const second = await spawn();
  await untilState(second, sagaId, "Completed");
});

test("of hundreds of sagas none is lost and none does anything twice for the log, with processes killed five times", async () => {
  const count = 300;
  let [first, second] = [await spawn(), await spawn()];
  const start = async (n: number) => {
    // A client that repeats what was not answered, with a key.
    for (;;) {
      const body = JSON.stringify({ name: `saga ${n}`, ...(n % 10 === 0 ? { fails: true } : {}) });
      const place = n % 2 === 0 ? first : second;
      const answer = await fetch(`${place.url}/api/sagas/effects/start`, {
        method: "POST",
        headers: { "idempotency-key": `saga-${n}` },
        body,
      }).catch(() => null);
      if (answer?.status === 202) return ((await answer.json()) as { sagaId: string }).sagaId;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const starting = Promise.all(
    Array.from({ length: 10 }, async (_, worker) => {
      const ids: string[] = [];
      for (let n = worker; n < count; n += 10) ids.push(await start(n));
      return ids;
    }),
  );
  for (let round = 0; round < 5; round++) {
    const seen = (await effects()).length;
    await until("there is progress", async () => (await effects()).length > seen + 30 || (await settled()) === count);
    if (round % 2 === 0) {
      await kill(first);
      first = await spawn();
    } else {
      await kill(second);
      second = await spawn();
    }
  }
  const ids = (await starting).flat();
  expect(new Set(ids).size).toBe(count);
  await until("all have ended", async () => (await settled()) === count);
  const sql = openSql(env.DATABASE_URL as string);
  try {
    const states = await sql<
      { state: string; n: string }[]
    >`select state, count(*) as n from sagas group by state order by state`;
    expect(states.map(({ state, n }) => [state, Number(n)])).toEqual([
      ["Compensated", count / 10],
      ["Completed", count - count / 10],
    ]);
    await until("the outbox is empty", async () => (await sql`select 1 from outbox`).length === 0);
    const told = await sql<{ key: string; types: string }[]>`
      select e.partition_key as key, string_agg(e.type || coalesce(' ' || (e.data::jsonb ->> 'step'), ''), ',' order by e.position) as types
      from events e join streams s on s.id = e.stream_id where s.name = 'saga-effects' group by e.partition_key`;
    expect(told).toHaveLength(count);
    const short = (types: string) => types.replaceAll("sluice.saga-", "");
    const well =
      "started,step-completed one,step-completed two,step-waiting nap,step-completed nap,step-completed three,completed";
    const badly =
      "started,step-completed one,step-completed two,step-waiting nap,step-completed nap,step-failed three,compensating,step-compensated two,step-compensated one,compensated";
    const ways = Map.groupBy(told, ({ types }) => short(types));
    expect([...ways].map(([way, sagas]) => [way, sagas.length]).sort()).toEqual(
      [
        [well, count - count / 10],
        [badly, count / 10],
      ].sort(),
    );
    // Each step and each compensation has had one key, however often it was tried.
    const keys = Map.groupBy(await effects(), ({ sagaId, step }) => `${sagaId} ${step}`);
    for (const [, list] of keys)
      expect(new Set(list.map(({ idempotencyKey }) => idempotencyKey)).size).toBeLessThanOrEqual(2);
  } finally {
    await sql.end();
  }
}, 120_000);

/** Sagas that have ended, by what any process says. */
async function settled(): Promise<number> {
  const sql = openSql(env.DATABASE_URL as string, 1);
  try {
    const [row] = await sql<{ n: string }[]>`select count(*) as n from sagas where ended_at is not null`;
    return Number(row?.n);
  } finally {
    await sql.end();
  }
}

test("a process whose clock is minutes behind takes over what is due by the clock of the database", async () => {
  const first = await spawn();
  const id = await begun(first, "napping");
  await untilSaga(first, id, "sleeps", ({ dueAt }) => dueAt !== null);
  await kill(first);
  const sql = openSql(env.DATABASE_URL as string, 1);
  await until("its sleep is over", async () => {
    const [row] = await sql<{ is_due: boolean }[]>`select due_at < clock_timestamp() as is_due from sagas`;
    return row?.is_due === true;
  });
  await sql.end();
  const second = await spawn(-300_000);
  await untilState(second, id, "Completed");
});
