// A page with the browser's own EventSource on a read-receipt subscription: delivered, acknowledged, read, across a kill -9.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Browser } from "playwright-core";
import { chromiumPath, launchChromium } from "../support/chromium.ts";
import { append, send } from "../support/client.ts";
import { put } from "../support/consume.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { spawnService } from "../support/service.ts";
import { until } from "../support/until.ts";

// What the page does: it acknowledges what is shown, and counts by event id.
const consume = `
  const api = location.origin + "/api/subscriptions/inbox";
  const shown = globalThis.shown = [];
  const source = new EventSource(api + "/events?consumer=ada");
  source.onmessage = async (message) => {
    const notice = JSON.parse(message.data);
    const tokens = [notice.deliverytoken];
    const answer = await fetch(api + "/acks", { method: "POST", body: JSON.stringify({ tokens }) }).then((r) => r.json(), () => null);
    shown.push({ id: notice.id, attempt: notice.deliveryattempt, result: answer === null ? null : answer.results[0] });
  };`;

type Shown = { id: string; attempt: number; result: string | null }[];

describe.skipIf(chromiumPath === null)("in Chromium", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchChromium();
  });
  afterAll(() => browser.close());

  test("a page is shown its notices, and what was not read is unread, also after a kill -9 of the service", async () => {
    const env = { DATABASE_URL: await createTestDatabase(), SSE_RETRY: "100ms" };
    let running = await spawnService(env);
    const { url } = running;
    const notices = (count: number) =>
      append(
        url,
        "notices",
        Array.from({ length: count }, () => ({ type: "Notice", data: "hello" })),
      );
    await put(`${url}/api/subscriptions/inbox`, {
      stream: "notices",
      mode: "read-receipt",
      from: "beginning",
      visibilityTimeout: "1s",
    });
    const unread = async () =>
      (await send<{ count: string }>(`${url}/api/subscriptions/inbox/consumers/ada/unread?count=true`)).body.count;
    await notices(3);
    const page = await browser.newPage();
    await page.goto(`${url}/problems`);
    await page.evaluate(consume);
    const shown = () => page.evaluate("shown") as Promise<Shown>;
    await until("they are shown", async () => (await shown()).length === 3);
    expect((await shown()).map(({ result }) => result)).toEqual(["settled", "settled", "settled"]);
    expect(await unread()).toBe("3");
    const [first] = await shown();
    await send(`${url}/api/subscriptions/inbox/consumers/ada/read`, {
      method: "POST",
      body: JSON.stringify({ ids: [first?.id] }),
    });
    expect(await unread()).toBe("2");

    running.kill("SIGKILL");
    await running.exited;
    running = await spawnService({ ...env, PORT: new URL(url).port });
    await notices(2);
    await until("the page has come back and shows the new ones", async () => {
      const settled = (await shown()).filter(({ result }) => result === "settled");
      return new Set(settled.map(({ id }) => id)).size === 5;
    });
    expect(await unread()).toBe("4");
    await send(`${url}/api/subscriptions/inbox/consumers/ada/read`, {
      method: "POST",
      body: JSON.stringify({ all: true }),
    });
    expect(await unread()).toBe("0");
    await page.close();
    running.kill("SIGTERM");
    await running.exited;
  }, 60_000);
});
