// The samples as a service runs them: what clients do to their streams, and to their sagas.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append, expectProblem, readAll, send } from "../support/client.ts";
import { begin, newCorrelation, untilState } from "../support/sagas.ts";
import { type Service, startService } from "../support/service.ts";
import { until } from "../support/until.ts";

let service: Service;
beforeAll(async () => {
  service = await startService({ MODULES: "src/samples/users.ts,src/samples/fulfillment.ts" });
});
afterAll(() => service.stop());

async function run<Result>(command: string, body: unknown): Promise<Result> {
  const init = { method: "POST", body: JSON.stringify(body) };
  const answer = await send<{ result: Result }>(`${service.url}/api/commands/${command}`, init);
  expect([command, answer.status]).toEqual([command, 201]);
  return answer.body.result;
}
const typesIn = async (stream: string) => (await readAll(service.url, stream)).map(({ type }) => type);

test("no client can put among the users what their statistics cannot be made of", async () => {
  for (const event of [{ type: "UserRegistered", data: {} }, { type: "UserRegistered" }, { type: "Unheard", data: {} }])
    expectProblem(await append(service.url, "users", event), 422, "schema-mismatch");
  await run("add-user", { name: "Ada", email: "ada@example.com" });
  const statistics = `${service.url}/api/projections/user-statistics`;
  await until("she is counted", async () => (await send<{ registered?: number }>(statistics)).body.registered === 1);
});

test("a second saga for an order gets nothing, and takes nothing from the first", async () => {
  await run("receive-stock", { sku: "tea", quantity: 5 });
  const order = { orderId: "o-1", sku: "tea", quantity: 5, amount: 20 };
  await untilState(service, await begin(service, "order-fulfillment", newCorrelation(), order), "Completed");
  const second = await begin(service, "order-fulfillment", newCorrelation(), order);
  expect(await untilState(service, second, "Compensated")).toMatchObject({
    failedStep: "reserve-inventory",
    compensatedSteps: [],
  });
  expect(await typesIn("inventory-tea")).toEqual(["StockReceived", "StockReserved"]);
  expect(await typesIn("payment-o-1")).toEqual(["PaymentAuthorized"]);
});
