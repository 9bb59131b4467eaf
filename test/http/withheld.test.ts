// /api/bridge/streams/{name}/withheld: what the NATS server does not take, page after page, in the order of the stream.
import { expect, test } from "bun:test";
import { append, send } from "../support/client.ts";
import { startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";

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
