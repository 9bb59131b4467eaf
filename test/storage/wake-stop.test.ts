import { expect, test } from "bun:test";
import postgres from "postgres";
import { createLog } from "../../src/base/log.ts";
import { createWake } from "../../src/storage/wake.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { until } from "../support/until.ts";

test("a wake-up that gets no answer does not keep the service from stopping", async () => {
  const url = new URL(await createTestDatabase());
  const proxy = await startTcpProxy(Number(url.port));
  const through = new URL(url);
  through.port = String(proxy.port);
  const watcher = postgres(url.href, { max: 1 });
  const heard: string[] = [];
  const sent: string[] = [];
  await watcher.listen("wake_stop", (payload) => heard.push(payload));
  const wake = createWake({
    connect: () => {
      const sql = postgres(through.href, { max: 1, fetch_types: false });
      const { notify } = sql;
      return Object.assign(sql, {
        notify(channel: string, payload: string) {
          sent.push(payload);
          return notify(channel, payload);
        },
      });
    },
    channel: "wake_stop",
    onCursors: () => {},
    onLive: () => {},
    onSchemas: () => {},
    onOutbox: () => {},
    onContended: () => {},
    onProjections: () => {},
    onWake() {},
    log: createLog("silent", "test"),
  });
  await wake.start();
  wake.send(1);
  await until("the first wake-up is heard", () => heard.some((payload) => payload.split(" ")[1] === "1"));
  await proxy.set("half-open");
  wake.send(2);
  await until("the second one is under way", () => sent.some((payload) => payload.split(" ")[1] === "2"));
  await wake.stop();
  expect(heard.some((payload) => payload.split(" ")[1] === "2")).toBe(false);
  await proxy.stop();
  await watcher.end();
});
