// Two processes contend for a lock at random, one of them is killed: never two holders, and fencing tokens that rise.
import { expect, test } from "bun:test";
import { createRandom } from "../crash/random.ts";
import { send } from "../support/client.ts";
import { post, put } from "../support/consume.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { type ServiceProcess, spawnService } from "../support/service.ts";
import { until } from "../support/until.ts";

type Lock = { token: string; expiresAt: string };

/** One who held the lock: all times in milliseconds, of the one clock of this machine. */
type Held = {
  token: number;
  asked: number;
  got: number;
  /** When it was surely held no more: its release was sent, or it ran out. */
  until: number;
};

/** What is wrong with a history of one lock. */
function faultsOf(history: readonly Held[]): string[] {
  const byToken = [...history].sort((a, b) => a.token - b.token);
  const faults: string[] = [];
  for (const [i, later] of byToken.entries()) {
    const before = byToken[i - 1];
    if (before === undefined) continue;
    if (before.token === later.token) faults.push(`token ${later.token} was given twice`);
    // Got at a time when the one before could not have let it go.
    if (later.got < before.until) faults.push(`${later.token} was held while ${before.token} was`);
    if (later.got < before.asked) faults.push(`${later.token} was given before ${before.token} was asked for`);
  }
  return faults;
}

/** Often enough for several holders to be in the way of each other, before a kill and after it. */
const manyTimes = 25;
const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 1e9));

test(`never two holders, whoever is killed (seed ${seed})`, async () => {
  const databaseUrl = await createTestDatabase();
  const env = { DATABASE_URL: databaseUrl, LOG_LEVEL: "info" };
  const services: ServiceProcess[] = [await spawnService(env), await spawnService(env)];
  const history: Held[] = [];
  let isOver = false;

  async function contend(n: number): Promise<void> {
    const random = createRandom(seed).fork(`contender ${n}`).next;
    while (!isOver) {
      const { url } = services[n % 2] as ServiceProcess;
      const asked = Date.now();
      const ttlMs = 100 + Math.floor(random() * 200);
      try {
        const wait = random() < 0.7 ? "2s" : "0s";
        const answer = await post<Lock>(`${url}/api/locks`, { key: "k", ttl: `${ttlMs}ms`, owner: `c${n}`, wait });
        if (answer.status !== 201) continue;
        const { token, expiresAt } = answer.body;
        const held: Held = { token: Number(token), asked, got: Date.now(), until: Date.parse(expiresAt) };
        history.push(held);
        await new Promise((resolve) => setTimeout(resolve, random() * 60));
        if (random() < 0.3) {
          const renewed = await put<Lock>(`${url}/api/locks/k`, { token, ttl: "150ms" });
          if (renewed.status === 200) held.until = Date.parse(renewed.body.expiresAt);
          await new Promise((resolve) => setTimeout(resolve, random() * 60));
        }
        // Who does not release lets it run out.
        if (random() < 0.8) {
          held.until = Math.min(held.until, Date.now());
          await send(`${url}/api/locks/k?token=${token}`, { method: "DELETE" });
        }
      } catch {
        // The process was killed: what it had been asked for is unknown, and whatever it gave runs out.
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }

  async function kill(): Promise<void> {
    try {
      await until("the lock has been held many times", () => history.length >= manyTimes);
      services[1]?.kill("SIGKILL");
      services[1] = await spawnService(env);
      const before = history.length;
      await until("it has been held many times again", () => history.length >= before + manyTimes);
    } finally {
      isOver = true;
    }
  }

  try {
    await Promise.all([...Array.from({ length: 6 }, (_, n) => contend(n)), kill()]);
  } finally {
    for (const service of services) service.kill("SIGTERM");
    await Promise.all(services.map((service) => service.exited));
  }
  expect(faultsOf(history)).toEqual([]);
});

test("the check of histories finds two holders, a token that comes twice, and one that went back", () => {
  const one = { token: 1, asked: 0, got: 10, until: 100 };
  expect(faultsOf([one, { token: 2, asked: 20, got: 100, until: 200 }])).toEqual([]);
  expect(faultsOf([one, { token: 2, asked: 20, got: 99, until: 200 }])).toHaveLength(1);
  expect(faultsOf([one, { token: 1, asked: 110, got: 120, until: 200 }])).toHaveLength(1);
  expect(
    faultsOf([
      { token: 2, asked: 0, got: 10, until: 20 },
      { token: 1, asked: 30, got: 40, until: 50 },
    ]),
  ).toHaveLength(2);
});
