// Pages of listed origins may use the service; pages of others are left to their browser.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append } from "../support/client.ts";
import { type Service, startService } from "../support/service.ts";

const app = "https://app.example.com";
const local = "http://localhost:5173";

let service: Service;
let closed: Service;
beforeAll(async () => {
  service = await startService({ CORS_ORIGINS: `${app}, ${local}` });
  closed = await startService();
  await append(service.url, "orders", { type: "Placed" });
});
afterAll(async () => {
  await closed.stop();
  await service.stop();
});

const preflight = (base: string, path: string, origin: string) =>
  fetch(base + path, {
    method: "OPTIONS",
    headers: {
      origin,
      "access-control-request-method": "POST",
      "access-control-request-headers": "content-type,ce-type,idempotency-key",
    },
  });

const get = (path: string, origin: string, accept = "application/json") =>
  fetch(service.url + path, { headers: { origin, accept } });

test("a preflight of a listed origin is allowed what it asks for", async () => {
  for (const origin of [app, local]) {
    const response = await preflight(service.url, "/api/streams/orders/events", origin);
    expect(response.status).toBe(204);
    expect(response.headers.get("access-control-allow-origin")).toBe(origin);
    expect(response.headers.get("access-control-allow-methods")).toContain("POST");
    expect(response.headers.get("access-control-allow-headers")).toBe("content-type,ce-type,idempotency-key");
    expect(response.headers.get("vary")).toContain("Origin");
  }
});

test("a preflight of another origin, and any where none is listed, is allowed nothing", async () => {
  const others = ["https://evil.example", "https://app.example.com.evil.example", "http://app.example.com", "null"];
  const answers = await Promise.all([
    ...others.map((origin) => preflight(service.url, "/api/streams/orders/events", origin)),
    preflight(closed.url, "/api/streams/orders/events", app),
  ]);
  for (const response of answers) {
    expect(response.status).toBe(405);
    expect(response.headers.get("access-control-allow-origin")).toBeNull();
  }
});

test("answers, problems and event streams can be read by listed origins, and by no other", async () => {
  const paths = ["/api/streams/orders", "/api/streams/nothing", "/nowhere", "/api/streams/orders/events"];
  for (const path of paths) {
    const listed = await get(path, app);
    expect([path, listed.headers.get("access-control-allow-origin")]).toEqual([path, app]);
    expect(listed.headers.get("access-control-expose-headers")).toContain("ETag");
    const other = await get(path, "https://evil.example");
    expect([path, other.headers.get("access-control-allow-origin")]).toEqual([path, null]);
    expect(other.headers.get("vary")).toContain("Origin");
  }
  const stream = await get("/api/streams/orders/events?from=0&limit=1", local, "text/event-stream");
  expect(stream.headers.get("access-control-allow-origin")).toBe(local);
  expect(await stream.text()).toContain("id: 0\n");
});

test("without a list nothing is said of origins", async () => {
  const response = await fetch(`${closed.url}/api/streams`, { headers: { origin: app } });
  expect(response.headers.get("access-control-allow-origin")).toBeNull();
  expect(response.headers.get("vary")).toBeNull();
});
