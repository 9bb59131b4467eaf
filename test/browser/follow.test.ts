// The browser's own EventSource against the service: it reconnects and resumes, and other origins need to be listed.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import type { Browser, Page } from "playwright-core";
import { chromiumPath, launchChromium } from "../support/chromium.ts";
import { append } from "../support/client.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { type Service, type ServiceProcess, spawnService, startService } from "../support/service.ts";
import { until } from "../support/until.ts";

describe.skipIf(chromiumPath === null)("in Chromium", () => {
  let browser: Browser;
  const pages: Page[] = [];
  beforeAll(async () => {
    browser = await launchChromium();
  });
  afterEach(async () => {
    await Promise.all(pages.splice(0).map((page) => page.close()));
  });
  afterAll(() => browser.close());

  /** A page, and what its policy or its scripts complained of. */
  async function open(url: string): Promise<{ page: Page; complaints: string[] }> {
    const page = await browser.newPage();
    pages.push(page);
    const complaints: string[] = [];
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("console", (message) => {
      if (message.type() === "error") complaints.push(message.text());
    });
    await page.goto(url);
    return { page, complaints };
  }

  /** Runs a script in the page, whose globals are not this program's; `$` in it is the address. */
  function run<T>(page: Page, address: string, script: string): Promise<T> {
    return page.evaluate(`(($) => { ${script} })(${JSON.stringify(address)})`);
  }

  const collect = `
    const seen = globalThis.seen = { ids: [], opened: 0 };
    const source = globalThis.source = new EventSource($);
    source.onopen = () => { seen.opened++; };
    source.onmessage = (message) => seen.ids.push(message.lastEventId);`;

  /** Follows with a plain EventSource; what it gets is collected in the page. */
  async function follow(page: Page, url: string): Promise<() => Promise<{ ids: string[]; opened: number }>> {
    await run(page, url, collect);
    return () => page.evaluate("seen");
  }

  const shows = (page: Page, id: string, text: string) =>
    until(`#${id} shows ${text}`, async () => (await page.textContent(`#${id}`)) === text);

  const numbered = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => String(from + i));
  const events = (n: number) => Array.from({ length: n }, () => ({ type: "Placed", data: { amount: 1 } }));

  test("after a kill -9 of the service EventSource comes back by itself, misses nothing and repeats nothing", async () => {
    const env = { DATABASE_URL: await createTestDatabase(), SSE_RETRY: "100ms", LOG_LEVEL: "info" };
    let running: ServiceProcess = await spawnService(env);
    const { url } = running;
    const restarted = { ...env, PORT: new URL(url).port };
    await append(url, "orders", events(100));
    const { page } = await open(`${url}/problems`);
    const seen = await follow(page, `${url}/api/streams/orders/events?from=beginning`);
    await until("history has come", async () => (await seen()).ids.length === 100);
    for (let round = 1; round <= 3; round++) {
      const last = Number((await append(url, "orders", events(50))).body.lastOffset);
      running.kill("SIGKILL");
      await running.exited;
      running = await spawnService(restarted);
      await append(url, "orders", events(50));
      await until("all of it has come", async () => (await seen()).ids.length >= last + 1 + 50);
    }
    const { ids, opened } = await seen();
    expect(ids).toEqual(numbered(0, 400));
    expect(opened).toBe(4);
    running.kill("SIGTERM");
    await running.exited;
  }, 60_000);

  test("a bounded stream ends for good: EventSource does not come back", async () => {
    const service = await startService({ SSE_RETRY: "50ms" });
    await append(service.url, "orders", events(5));
    const { page } = await open(`${service.url}/problems`);
    await follow(page, `${service.url}/api/streams/orders/events?from=beginning&to=3`);
    await until("it is closed", () => page.evaluate("source.readyState === EventSource.CLOSED"));
    await service.stop();
  });

  describe("from another origin", () => {
    let service: Service;
    let elsewhere: ReturnType<typeof Bun.serve>;
    beforeAll(async () => {
      const html = () =>
        new Response("<!doctype html><title>App</title>", { headers: { "content-type": "text/html" } });
      elsewhere = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: html });
      service = await startService({ CORS_ORIGINS: `http://127.0.0.1:${elsewhere.port}` });
      await append(service.url, "orders", events(3));
    });
    afterAll(async () => {
      await elsewhere.stop(true);
      await service.stop();
    });

    test("a listed one follows, appends under an expected version, and reads what went wrong", async () => {
      const { page } = await open(`http://127.0.0.1:${elsewhere.port}/`);
      const seen = await follow(page, `${service.url}/api/streams/orders/events?from=beginning`);
      await until("history has come", async () => (await seen()).ids.length === 3);
      const answer = await run(
        page,
        `${service.url}/api/streams/orders/events`,
        `const headers = { "content-type": "application/json", "if-match": '"2"' };
        const append = () => fetch($, { method: "POST", headers, body: '{"type":"Placed"}' });
        return append().then(async (first) => {
          const second = await append();
          return { etag: first.headers.get("etag"), problem: (await second.json()).type };
        });`,
      );
      expect(answer).toEqual({ etag: '"3"', problem: "/problems/wrong-expected-version" });
      await until("the new event has come", async () => (await seen()).ids.length === 4);
    });

    test("one that is not listed gets nothing", async () => {
      const { page } = await open(`http://localhost:${elsewhere.port}/`);
      const outcome = await run(
        page,
        `${service.url}/api/streams/orders/events?from=beginning`,
        `return new Promise((resolve) => {
          const source = new EventSource($);
          source.onmessage = () => resolve("an event");
          source.onerror = () => resolve("closed: " + (source.readyState === EventSource.CLOSED));
        });`,
      );
      expect(outcome).toBe("closed: true");
    });
  });

  describe("the pages of the service", () => {
    let service: Service;
    beforeAll(async () => {
      service = await startService();
      await append(service.url, "orders", [{ type: "Placed", data: { html: "<b>bold</b>" } }, { type: "Paid" }]);
    });
    afterAll(() => service.stop());

    test("the page that follows a stream shows history and what comes, as text", async () => {
      const { page, complaints } = await open(`${service.url}/docs/follow.html?stream=orders`);
      await shows(page, "state", "live");
      await append(service.url, "orders", { type: "Shipped" });
      await shows(page, "count", "3");
      expect(await page.locator("#events tr td:nth-child(3)").allTextContents()).toEqual(["Shipped", "Paid", "Placed"]);
      expect(await page.locator("#events tr td:last-child").last().textContent()).toBe('{"html":"<b>bold</b>"}');
      await page.click("#stop");
      expect(await page.textContent("#state")).toBe("stopped");
      await page.fill("[name=types]", "Paid");
      await page.click("text=Follow >> nth=-1");
      await shows(page, "count", "1");
      expect(complaints).toEqual([]);
    });

    test("the documentation opens without another host, and its policy has nothing to forbid", async () => {
      const { page, complaints } = await open(`${service.url}/docs`);
      const hosts = new Set<string>();
      page.on("request", (request) => hosts.add(new URL(request.url()).host));
      await page.reload();
      await page.waitForSelector(".opblock");
      expect(await page.locator(".opblock").count()).toBeGreaterThan(10);
      await page.locator(".opblock", { hasText: "/livez" }).first().click();
      await page.click(".try-out__btn");
      await page.click(".execute");
      await page.waitForSelector("text=live");
      expect([...hosts]).toEqual([new URL(service.url).host]);
      expect(complaints).toEqual([]);
    });
  });
});
