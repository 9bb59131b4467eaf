// A cluster of three servers: it loses one, and no event.
import { expect, test } from "bun:test";
import type { NatsConnection } from "nats";
import { JetStreamError } from "../../../src/delivery/bridge/jetstream.ts";
import { streamOf } from "../../../src/delivery/bridge/nats-words.ts";
import { countOf, offsetsOf, range } from "../../support/bridge.ts";
import { append, send } from "../../support/client.ts";
import { type NatsServer, natsServerPath, startNatsCluster } from "../../support/nats-server.ts";
import { startService } from "../../support/service.ts";
import { until } from "../../support/until.ts";

/** Whether each server has all of a stream. */
async function inStep(client: NatsConnection, stream: string): Promise<boolean> {
  const manager = await client.jetstreamManager().catch(() => null);
  const info = await manager?.streams.info(stream).catch(() => null);
  return info?.cluster?.replicas?.every(({ current, lag = 0 }) => current && lag === 0) === true;
}

test.skipIf(natsServerPath === null)(
  "a cluster that loses one of its servers, and another, holds every event once",
  async () => {
    const servers = await startNatsCluster();
    const service = await startService({
      NATS_URL: servers.map(({ url }) => url).join(","),
      NATS_REPLICAS: "3",
      LEASE_DURATION: "1s",
      LOG_LEVEL: process.env.TEST_LOG ?? "silent",
    });
    await send(`${service.url}/api/streams/copied`, { method: "PUT", body: '{"scope":"cross-service"}' });
    let appended = 0;
    const more = async () => {
      await append(
        service.url,
        "copied",
        range(200, appended).map((n) => ({ type: "A", data: { n } })),
      );
      appended += 200;
    };
    await more();
    for (const [n, lost] of servers.slice(0, 2).entries()) {
      await lost.kill();
      for (let round = 0; round < 5; round++) await more();
      const left = await (servers[(n + 1) % 3] as NatsServer).connect();
      await until("all is there", async () => (await countOf(left, "sluice_copied").catch(() => 0)) === appended);
      expect(await offsetsOf(left, "sluice_copied")).toEqual(range(appended));
      await lost.start();
      // A cluster of three bears the loss of one: the next may be lost when this one has what it missed.
      await until("it has caught up", () => inStep(left, "sluice_copied"));
      await left.close();
    }
    await service.stop();
    for (const server of servers) await server.stop();
  },
);

const told = {
  config: {
    ...{ name: "sluice_copied", max_age: 0, max_bytes: -1, max_msgs: -1, num_replicas: 3 },
    ...{ storage: "file" as const, retention: "limits", duplicate_window: 0 },
  },
  state: { messages: 5, first_seq: 1, last_seq: 5 },
  created: "2026-11-22T00:00:00Z",
};

test("what servers without a leader say of a stream is not believed: the one that answers may have lost its end", () => {
  expect(() => streamOf({ ...told, cluster: {} })).toThrow(JetStreamError);
  expect(() => streamOf({ ...told, cluster: { leader: "" } })).toThrow("has no leader");
  expect(streamOf({ ...told, cluster: { leader: "n1" } }).lastSequence).toBe(5);
  expect(streamOf(told).lastSequence).toBe(5);
});
