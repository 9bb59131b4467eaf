// Those who start sagas, confirm some that wait, and now and then pause, resume or cancel one.
import { setTimeout as sleep } from "node:timers/promises";
import { accounts, type ProcessClientsOptions } from "./command-clients.ts";
import type { Plan, SagaManaged, SagaStarting } from "./process-history.ts";
import type { Random } from "./random.ts";
import { createSettledRequests, type Noting, notNoted } from "./settled-requests.ts";

const starters = 5;

/** Resolves when each has the outcome of its last request, and nothing stays paused. */
export async function runSagaClients(options: ProcessClientsOptions): Promise<void> {
  const { history, random, stop } = options;
  let op = 0;

  const noting =
    (start: Omit<SagaStarting, "kind" | "op" | "at">): Noting =>
    () => {
      const starting: SagaStarting = { kind: "saga-starting", op: op++, at: history.now(), ...start };
      history.add(starting);
      return ({ outcome, status, reason, body }) => {
        const { sagaId = null } = (status === null ? {} : JSON.parse(body)) as { sagaId?: string };
        history.add({ kind: "saga-started", op: starting.op, at: history.now(), outcome, status, reason, sagaId });
      };
    };

  async function run(name: string): Promise<void> {
    const own = random.fork(name);
    const requests = createSettledRequests({ ...options, random: own.fork("requests") });

    async function manage(sagaId: string, what: SagaManaged["what"]): Promise<void> {
      const request = { what: `${what} of saga ${sagaId}`, path: `/api/sagas/${sagaId}/${what}`, body: {} };
      await requests.settle(request, notNoted);
      history.add({ kind: "saga-managed", at: history.now(), sagaId, what });
    }

    for (let n = 0; !stop.aborted; n++) {
      const mark = `${name}-${n}`;
      const saga = n < 3 || own.chance(0.7) ? "errand" : "parley";
      const plan = saga === "errand" ? newPlan(own, n) : ({ fails: "none", how: "once", staysUndone: "none" } as const);
      const body = {
        ...{ mark, account: own.pick(accounts).replace("account-", ""), amount: own.between(1, 12) },
        ...(saga === "errand" ? { ...plan, restMs: own.chance(0.5) ? own.between(1, 60) : 0 } : {}),
      };
      const start = { what: `saga ${mark}`, path: `/api/sagas/${saga}/start`, body, key: mark, correlation: mark };
      const noted = noting({ mark, saga, plan });
      const beside = own.chance(0.1) ? requests.attempt(start, noted) : null;
      const isSettled = own.chance(0.85);
      const outcome = isSettled ? await requests.settle(start, noted) : await requests.attempt(start, noted);
      await beside;
      if (saga === "parley" && own.chance(0.65)) {
        if (own.chance(0.5)) await sleep(own.between(1, 2_500));
        const event = { id: `${mark}-confirmed`, type: "Confirmed", correlationid: mark, data: { mark } };
        const path = "/api/streams/confirmations/events";
        await requests.settle({ what: `the confirmation of ${mark}`, path, body: event }, notNoted);
      }
      if (outcome.outcome === "acknowledged" && own.chance(0.15)) {
        const { sagaId } = JSON.parse(outcome.body) as { sagaId: string };
        await sleep(own.between(0, 150));
        if (own.chance(0.5)) await manage(sagaId, "cancel");
        else {
          await manage(sagaId, "pause");
          await sleep(own.between(0, 400));
          await manage(sagaId, "resume");
        }
      }
      await sleep(own.between(10, own.chance(0.05) ? 900 : 120));
    }
  }

  await Promise.all(Array.from({ length: starters }, (_, i) => run(`starter-${i}`)));
}

/** Every end comes early in a run, whatever the dice say later. */
function newPlan(random: Random, n: number): Plan {
  const how = random.pick(["once", "throws", "rejects"] as const);
  const staysUndone = random.pick(["hold", "pack"] as const);
  if (n % 4 === 0) return { fails: "ship", how: "rejects", staysUndone: "none" };
  if (n % 4 === 1) return { fails: "ship", how: "throws", staysUndone };
  const fails = random.chance(0.5) ? random.pick(["hold", "pack", "ship"] as const) : "none";
  return { fails, how, staysUndone: random.chance(0.2) ? staysUndone : "none" };
}
