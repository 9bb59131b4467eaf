import { afterAll, beforeAll, expect, test } from "bun:test";
import { type Service, startService } from "../support/service.ts";

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.stop());

function append(stream: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${service.url}/api/streams/${stream}/events`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
}

test("an appended event is answered with its place and can be read back", async () => {
  const response = await append("orders", { type: "OrderPlaced", data: { orderId: "o-1" } });
  expect(response.status).toBe(201);
  expect(response.headers.get("etag")).toBe('"0"');
  const read = (await (await fetch(`${service.url}/api/streams/orders/events`)).json()) as {
    events: { data: unknown }[];
  };
  expect(read.events.map((event) => event.data)).toEqual([{ orderId: "o-1" }]);
});

test("a second append at the same version is refused, and told the actual one", async () => {
  expect((await append("accounts", { type: "Opened" }, { "if-none-match": "*" })).status).toBe(201);
  const refused = await append("accounts", { type: "Opened" }, { "if-none-match": "*" });
  expect(refused.status).toBe(412);
  expect(await refused.json()).toMatchObject({ type: "/problems/wrong-expected-version", expected: "-1", actual: "0" });
});
