// What is noted of publishing in the database: also when that is slow or fails for once, and for each JetStream stream apart.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type postgres from "postgres";
import { countOf, offsetsOf } from "../../support/bridge.ts";
import { append, send } from "../../support/client.ts";
import { put } from "../../support/consume.ts";
import { type NatsServer, natsServerPath, startNatsServer } from "../../support/nats-server.ts";
import { type Service, startService } from "../../support/service.ts";
import { openSql } from "../../support/sql.ts";
import { until } from "../../support/until.ts";

type Told = { stream: string; state: string; lagEvents: string; offset: string; withheld: string; jetstream: string };

describe.skipIf(natsServerPath === null)("notes", () => {
  let server: NatsServer;
  let service: Service;
  let sql: postgres.Sql;
  beforeAll(async () => {
    server = await startNatsServer({ config: "max_payload: 100000" });
    service = await startService({ NATS_URL: server.url, SERVICE_NAME: "svca" });
    sql = openSql(service.databaseUrl);
  });
  afterAll(async () => {
    await sql.end();
    await service.stop();
    await server.stop();
  });

  async function told(stream: string): Promise<Told | undefined> {
    const { body } = await send<{ outbound: { streams: Told[] } }>(`${service.url}/api/bridge`);
    return body.outbound.streams.find((one) => one.stream === stream);
  }
  const noted = (stream: string, offset: number) =>
    until(`${stream} is noted up to ${offset}`, async () => {
      const standing = await told(stream);
      return standing?.offset === String(offset) && standing.lagEvents === "0";
    });

  test("a stream is aligned while another one is noted again and again, slowly", async () => {
    await put(`${service.url}/api/streams/busy`, { scope: "cross-service" });
    await append(service.url, "busy", [{ type: "A" }]);
    await noted("busy", 0);
    await sql`
      create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.15); return new; end $$`;
    await sql`create trigger slow before insert or update on bridge_cursors for each row execute function slow()`;
    let isOver = false;
    const load = (async () => {
      while (!isOver) await append(service.url, "busy", [{ type: "A" }]);
    })();
    await until("notes are under way", async () => Number((await told("busy"))?.offset) > 20);
    await put(`${service.url}/api/streams/late`, { scope: "cross-service" });
    await append(service.url, "late", [{ type: "B" }]);
    const client = await server.connect();
    await until("the late one is published", async () => (await countOf(client, "svca_late")) === 1);
    isOver = true;
    await load;
    await sql`drop function slow cascade`;
    await client.close();
  });

  test("what could not be noted is noted later, though nothing is appended any more", async () => {
    await put(`${service.url}/api/streams/idle`, { scope: "cross-service" });
    await append(service.url, "idle", [{ type: "A" }]);
    await noted("idle", 0);
    await sql`create sequence failures`;
    await sql`
      create function fail() returns trigger language plpgsql as $$
      begin perform nextval('failures'); raise exception 'for once'; end $$`;
    await sql`create trigger fail before insert or update on bridge_cursors for each row execute function fail()`;
    await append(service.url, "idle", [{ type: "B" }, { type: "C" }]);
    const client = await server.connect();
    await until("all are published", async () => (await countOf(client, "svca_idle")) === 3);
    await until("a note has failed", async () => (await sql`select from failures where is_called`).length === 1);
    await sql`drop function fail cascade`;
    await noted("idle", 2);
    await client.close();
  });

  test("what one JetStream stream did not take is known still when the stream comes back to it", async () => {
    const at = (stream: string) =>
      put(`${service.url}/api/streams/moving`, { scope: "cross-service", nats: { stream } });
    const client = await server.connect();
    const manager = await client.jetstreamManager();
    const withheld = async () => {
      const { body } = await send<{ withheld: { offset: string }[] }>(
        `${service.url}/api/bridge/streams/moving/withheld`,
      );
      return body.withheld.map(({ offset }) => offset);
    };
    await at("first");
    await append(service.url, "moving", [{ type: "A" }, { type: "Big", data: "x".repeat(200_000) }, { type: "B" }]);
    await noted("moving", 2);
    expect([await offsetsOf(client, "first"), await withheld()]).toEqual([[0, 2], ["1"]]);
    // JetStream takes no two streams with one subject: the first one lets go of it.
    await manager.streams.update("first", { subjects: ["parked"] });
    await at("second");
    await until("it is published there", async () => (await countOf(client, "second")) === 2);
    await manager.streams.delete("second");
    await manager.streams.update("first", { subjects: ["svca.moving.*"] });
    await at("first");
    await until("it is published here again", async () => {
      const standing = await told("moving");
      return standing?.jetstream === "first" && standing.state === "publishing";
    });
    expect([await offsetsOf(client, "first"), await withheld()]).toEqual([[0, 2], ["1"]]);
    expect((await told("moving"))?.withheld).toBe("1");
    await client.close();
  });
});
