// /api/bridge/streams/{name}/withheld: what the NATS server does not take, page after page, in the order of the stream.
import { expect, test } from "bun:test";
import { append, send } from "../support/client.ts";
import { put } from "../support/consume.ts";
import { natsServerPath, startNatsServer } from "../support/nats-server.ts";
import { startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";
import { until } from "../support/until.ts";

type Page = { withheld: { offset: string; id: string; reason: string }[]; next: string | null };

test("withheld events are listed in pages, and a stream that is not there is 404", async () => {
  const service = await startService();
  const sql = openSql(service.databaseUrl);
  const address = `${service.url}/api/bridge/streams/pictures/withheld`;
  expect((await send(address)).status).toBe(404);
  await append(service.url, "pictures", [{ type: "A" }, { type: "A" }, { type: "A" }]);
  expect(await send<Page>(address)).toMatchObject({ status: 200, body: { withheld: [], next: null } });
  await sql`
    insert into bridge_cursors (stream_id, nats_stream, nats_created, nats_sequence, "offset", position, log_id, updated_at)
    select s.id, 'sluice_pictures', 'once', 0, -1, -1, gen_random_uuid(), now() from streams s where s.name = 'pictures'`;
  await sql`
    insert into bridge_withheld (stream_id, nats_stream, nats_created, "offset", event_id, type, reason, withheld_at)
    select s.id, 'sluice_pictures', 'once', o, 'picture-' || o, 'A', 'too large', now() from streams s, generate_series(0, 2) o where s.name = 'pictures'`;
  const first = await send<Page>(`${address}?limit=2`);
  expect(first.body.withheld.map(({ id }) => id)).toEqual(["picture-0", "picture-1"]);
  const second = await send<Page>(`${service.url}${first.body.next}`);
  expect(second.body).toMatchObject({ withheld: [{ offset: "2", reason: "too large" }], next: null });
  expect((await send(`${address}?limit=0`)).status).toBe(400);
  await sql.end();
  await service.stop();
});

test.skipIf(natsServerPath === null)(
  "how many events of a stream are withheld now is a gauge, whichever process has withheld them",
  async () => {
    const server = await startNatsServer({ config: "max_payload: 64KB" });
    const first = await startService({ NATS_URL: server.url });
    const { databaseUrl } = first;
    await put(`${first.url}/api/streams/pictures`, { scope: "cross-service" });
    await append(first.url, "pictures", [{ type: "A", data: "x".repeat(100_000) }, { type: "A" }]);
    await until("it is withheld", async () => {
      const { body } = await send<Page>(`${first.url}/api/bridge/streams/pictures/withheld`);
      return body.withheld.length === 1;
    });
    await first.stop();
    const service = await startService({ NATS_URL: server.url, DATABASE_URL: databaseUrl });
    const metrics = await until("it is counted", async () => {
      const text = await (await fetch(`${service.url}/metrics`)).text();
      return text.includes('sluice_bridge_withheld_events{stream="pictures"} 1') && text;
    });
    expect(metrics).toContain("sluice_bridge_withheld_total 0");
    await service.stop();
    await server.stop();
  },
);
