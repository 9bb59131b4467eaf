// An operator: creates the subscriptions, then pauses and resumes them, configures them anew, and removes consumers.
import { setTimeout as sleep } from "node:timers/promises";
import type { Operated, SubscriptionDeclared } from "./consumer-history.ts";
import { consumerNames } from "./consumers.ts";
import type { History } from "./history.ts";
import { createHttpConnection } from "./http-connection.ts";
import type { Random } from "./random.ts";
import { configurationsOf, isPerConsumer, pathOf } from "./subscribed.ts";

export type OperatorOptions = {
  history: History;
  random: Random;
  /** Ports of the services. */
  ports: readonly number[];
  subscriptions: readonly SubscriptionDeclared[];
};

export type Operator = {
  create: () => Promise<void>;
  /** Until the signal fires; then everything is resumed. */
  run: (stop: AbortSignal) => Promise<void>;
};

type Method = "PUT" | "POST" | "DELETE";

const silenceMs = 8_000;
const patienceMs = 30_000;

export function createOperator({ history, random, ports, subscriptions }: OperatorOptions): Operator {
  const configurations = configurationsOf(random.fork("configuration"), subscriptions);

  async function send(method: Method, path: string, body: object | null): Promise<number | null> {
    const connection = createHttpConnection(random.pick(ports));
    const content =
      body === null ? {} : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
    const answer = await connection.send({ method, path, silenceMs, ...content }).catch(() => null);
    connection.close();
    // A consumer that is to be removed may not be there.
    if (answer !== null && answer.status >= 400 && answer.status < 500 && answer.status !== 404)
      history.alarm(`${method} ${path} was answered ${answer.status}: ${answer.body}`);
    return answer?.status ?? null;
  }

  async function operate(
    action: Operated["action"],
    declared: SubscriptionDeclared,
    consumer: string | null = null,
  ): Promise<boolean> {
    const { subscription } = declared;
    const path = pathOf(declared);
    const invokedAt = history.now();
    let status: number | null;
    if (action === "configure") {
      const found = configurations.find((configuration) => configuration.path === path);
      status = await send("PUT", path, found?.body ?? {});
    } else if (action === "remove-consumer") status = await send("DELETE", `${path}/consumers/${consumer}`, null);
    else status = await send("POST", `${path}/${action}`, null);
    history.add({ kind: "operated", action, invokedAt, at: history.now(), status, subscription, consumer });
    return status !== null && status < 300;
  }

  async function insist(what: string, task: () => Promise<boolean>): Promise<void> {
    for (const deadline = Date.now() + patienceMs; !(await task()); await sleep(100))
      if (Date.now() > deadline) throw new Error(`${what} never succeeded`);
  }

  return {
    async create() {
      for (const { path, body } of configurations)
        await insist(`PUT ${path}`, async () => ((await send("PUT", path, body)) ?? 500) < 300);
    },
    async run(stop) {
      const managed = subscriptions.filter(({ isQueue }) => !isQueue);
      const pause = (ms: number) => sleep(ms, undefined, { signal: stop }).catch(() => {});
      while (!stop.aborted && managed.length > 0) {
        await pause(random.between(100, 2_000));
        const declared = random.pick(managed);
        const action = random.pick(["pause", "configure", "remove-consumer"] as const);
        if (stop.aborted) break;
        if (action === "pause") {
          await operate("pause", declared);
          await pause(random.between(0, 600));
          await insist("resuming", () => operate("resume", declared));
        } else if (action === "configure") await operate("configure", declared);
        // With its consumer a cursor of its own would go, and begin anew.
        else if (!isPerConsumer(declared))
          await operate("remove-consumer", declared, random.pick(consumerNames(declared)));
      }
    },
  };
}
