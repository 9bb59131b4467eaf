// The statements of the ledger are index probes under the settings of its connections, whatever is in the tables.
import { afterAll, beforeAll, expect, test } from "bun:test";
import postgres from "postgres";
import { searchPath } from "../../src/storage/migrate.ts";
import { put } from "../support/consume.ts";
import { testSchema } from "../support/postgres.ts";
import { type Service, startService } from "../support/service.ts";

type Plan = {
  "Node Type": string;
  "Relation Name"?: string;
  "Index Name"?: string;
  "Index Cond"?: string;
  Plans?: Plan[];
};
type Explained = { query: string; plan: Plan };

let service: Service;
let sql: postgres.Sql;
let explained: Explained[] = [];
beforeAll(async () => {
  service = await startService();
  sql = postgres(service.databaseUrl, {
    max: 1,
    fetch_types: false,
    onnotice({ message = "" }) {
      const json = /plan:\s*(\{.*\})\s*$/s.exec(message)?.[1];
      if (json === undefined) return;
      const { "Query Text": query, Plan: plan } = JSON.parse(json);
      explained.push({ query, plan });
    },
    // Those of src/storage/database.ts.
    connection: {
      search_path: searchPath(testSchema),
      plan_cache_mode: "force_generic_plan",
      enable_seqscan: "off",
      enable_hashjoin: "off",
      enable_mergejoin: "off",
      jit: "off",
    } as unknown as Record<string, string>,
  });
  await sql`load 'auto_explain'`;
  await sql.unsafe(`
    set auto_explain.log_min_duration = 0; set auto_explain.log_nested_statements = on; set auto_explain.log_format = json;
    set auto_explain.log_level = notice; set client_min_messages = notice`);
});
afterAll(async () => {
  await sql.end();
  await service.stop();
});

/** What the key of each index begins with: a scan that does not name it reads all of the index. */
const leading: Record<string, RegExp> = {
  deliveries_pkey: /\bstep\b/,
  deliveries_due: /\bcursor_id\b/,
  deliveries_consumer: /\bcursor_id\b/,
  deliveries_first: /\bcursor_id\b/,
  deliveries_owner: /\bcursor_id\b/,
  receipts_pkey: /\bid\b/,
  receipts_first: /\bcursor_id\b/,
  receipts_due: /\bdue\b/,
};

function* nodesOf(plan: Plan): Iterable<Plan> {
  yield plan;
  for (const child of plan.Plans ?? []) yield* nodesOf(child);
}

/** Statements that read all of deliveries or receipts, or all of an index of theirs. */
function defects(): string[] {
  const found = new Set<string>();
  for (const { query, plan } of explained) {
    for (const node of nodesOf(plan)) {
      const isScan = /Scan/.test(node["Node Type"]);
      const index = node["Index Name"] ?? "";
      const isOurs = node["Relation Name"] === "deliveries" || node["Relation Name"] === "receipts" || index in leading;
      if (!isScan || !isOurs || node["Node Type"] === "Bitmap Heap Scan") continue;
      if (leading[index]?.test(node["Index Cond"] ?? "") !== true)
        found.add(
          `${node["Node Type"]} ${index} (${node["Index Cond"] ?? ""}): ${query.replaceAll(/\s+/g, " ").trim().slice(0, 200)}`,
        );
    }
  }
  return [...found];
}

async function create(name: string, configuration: Record<string, unknown>, members: string[]) {
  await put(`${service.url}/api/subscriptions/${name}`, {
    stream: name,
    from: "beginning",
    maxInFlight: 10_000,
    ...configuration,
  });
  const [row] = await sql`select id from subscriptions where name = ${name}`;
  const id = row?.id as string;
  for (const member of members) await sql`select consumer_join(${id}, ${member}, null)`;
  const [cursor] = await sql`select id from subscription_cursors where subscription_id = ${id}`;
  return { id, cursor: cursor?.id as string };
}

const leased = (
  cursor: string,
  step: number,
  { consumer = "ada", due = "1 hour", positions = [step * 10, step * 10 + 1], keys = [1, 2] as number[] | null } = {},
) => sql`
  insert into deliveries (cursor_id, step, part, state, consumer, due, positions, keys)
    values (${cursor}, ${step}, 0, 'leased', ${consumer}, clock_timestamp() + ${due}::text::interval,
      ${`{${positions}}`}::bigint[], ${keys === null ? null : `{${keys}}`}::bigint[])`;

const claimGroup = (cursor: string, consumer = "ada") => sql`
  select status from delivery_claim_group(${cursor}, 1, -1, -1, '{}', '{}', ${`{${consumer}}`}::text[], '{5}', '{1000}', '{true}', 10000, 1000, '{}', '{}', 0, true, '{0}', '-infinity')`;

async function useEverything(round: number): Promise<void> {
  const group = await create(
    `group-${round}`,
    { mode: "consumer-group", slots: 8, onFailure: "pause", maxAttempts: 1 },
    ["ada", "bob"],
  );
  const alone = await create(`alone-${round}`, { mode: "exclusive" }, ["ada"]);
  const reads = await create(`reads-${round}`, { mode: "read-receipt", onUnreadExpired: "requeue" }, ["ada"]);
  explained = [];
  for (const { cursor } of [group, alone]) {
    const keys = cursor === group.cursor ? [1, 2] : null;
    await leased(cursor, 1, { due: "-1 min", keys });
    await leased(cursor, 2, { keys });
    await leased(cursor, 3, { keys, consumer: "bob" });
    if (cursor === group.cursor) await claimGroup(cursor);
    else
      await sql`select status from delivery_claim(${cursor}, 1, -1, -1, '{}', '{ada}', '{5}', '{1000}', '{true}', 10000, true, '{0}', '-infinity')`;
    await sql`select cursor_expire(${cursor}, '-infinity')`;
    await leased(cursor, 4, { keys });
    await leased(cursor, 5, { keys });
    await sql`select delivery_extend(${`{${cursor}}`}::bigint[], '{5}', '{0}', '{null}', '{1}', '{1}', '{50}', 1000)`;
    await sql`select consumers_seen(${`{${cursor}}`}::bigint[], '{4}', '{0}')`;
    await sql`select delivery_settle(${`{${cursor}}`}::bigint[], '{5}', '{0}', '{null}', '{1}', '{1}', '{51}')`;
    await sql`select delivery_settle(${`{${cursor}}`}::bigint[], '{5}', '{0}', '{null}', '{1}', '{2}', '{50,51}')`;
    await sql`select delivery_return(${cursor}, '{4}', '{0}', '{null}', '{1}', '{1}', '{40}', 'requeue', 0, 'x')`;
    await sql`select delivery_release(${cursor}, null, '{4}', '{0}', 'x')`;
    await sql`select delivery_release(${cursor}, '{ada,bob}', null, null, 'x')`;
    await leased(cursor, 6, { keys });
    await sql`select delivery_put_back(${cursor}, '{6}', '{0}')`;
    await sql`select cursor_resume_keys(${cursor})`;
    await sql`select cursor_floor(${cursor})`;
    await sql`select cursor_lag(${cursor === group.cursor ? group.id : alone.id}, ${cursor}, 0, 1, 10)`;
    await sql`select cursor_settle_removed(${cursor}, 45, -1, 10)`;
    await sql`select delivery_is_open(${cursor}, 5)`;
    await sql`select * from unread_held(${cursor}, -1, 10)`;
    await sql`
      insert into dead_letters (subscription_id, cursor_id, position, stream, "offset", event_id, type, recorded_at, schema_version,
          attributes, reason, attempts, first_error, first_at, last_error, last_at, dead_at)
        select c.subscription_id, c.id, 77, 'x', 1, 'x', 'x', now(), 1, '{}', 'rejected', 1, 'x', now(), 'x', now(), now()
        from subscription_cursors c where c.id = ${cursor}`;
    await sql`select dead_letters_replay(${cursor}, array(select id from dead_letters where cursor_id = ${cursor}), '{3}')`;
  }
  // A slot that is handed over, and one whose member is late with it.
  await leased(group.cursor, 7, { keys: [0, 1, 2, 3, 4, 5, 6, 7], positions: [70, 71, 72, 73, 74, 75, 76, 77] });
  await sql`select consumer_join(${group.id}, 'eve', null)`;
  await sql`update group_slots set drain_deadline = now() where cursor_id = ${group.cursor} and next_owner is not null`;
  await claimGroup(group.cursor);
  await sql`update consumers set seen_at = now() - interval '1 h' where subscription_id = ${group.id} and name = 'bob'`;
  await sql`select * from consumers_forget(0, 10)`;
  await sql`select consumer_remove(${group.id}, 'eve')`;
  await sql`select * from cursors_with_deliveries(0, 10, '-infinity', now())`;

  const { cursor } = reads;
  for (let step = 1; step < 6; step++) await leased(cursor, step, { keys: null });
  await sql`select delivery_settle(${`{${cursor}}`}::bigint[], '{1}', '{0}', '{null}', '{1}', '{2}', '{10,11}')`;
  await sql`select delivery_settle(${`{${cursor}}`}::bigint[], '{2}', '{0}', '{null}', '{1}', '{1}', '{20}')`;
  await sql`select receipt_read(${cursor}, '{10,21}')`;
  await sql`select * from receipt_read_up_to(${cursor}, 20, -1, 20, '{}')`;
  await sql`select * from unread_held(${cursor}, -1, 10)`;
  await sql`select delivery_settle(${`{${cursor}}`}::bigint[], '{3}', '{0}', '{null}', '{1}', '{2}', '{30,31}')`;
  await sql`update receipts set due = now() where cursor_id = ${cursor} and positions[1] > -1`;
  await sql`select * from receipts_expire(10)`;
  await sql`select * from receipts_sweep(-1, 10)`;
  await sql`select cursor_floor(${cursor})`;
  for (const id of [group.cursor, alone.cursor, cursor]) await sql`select cursor_reset(${id}, -1)`;
  await sql`select * from consumer_remove(${reads.id}, 'ada')`;
  // The service removes what is deleted, too, unless it does not see it.
  await sql`begin`;
  await sql`select subscription_delete(${`group-${round}`})`;
  for (let calls = 0; calls < 6; calls++) await sql`select subscription_clear(10)`;
  await sql`rollback`;
}

test("nothing of the ledger reads a whole table or index, whatever is in it", async () => {
  const started = { plans: 0, defects: [] as string[] };
  await useEverything(1);
  started.plans = explained.length;
  expect(started.plans).toBeGreaterThan(100);
  expect(defects()).toEqual([]);
  const other = await create("other", { mode: "exclusive" }, []);
  await sql`
    insert into deliveries (cursor_id, step, part, state, due, positions)
      select ${other.cursor}, g, 0, 'ready', now() + interval '1 h', array[g] from generate_series(1, 5000) g`;
  await sql`insert into receipts (cursor_id, positions, delivered_at) select ${other.cursor}, array[g], now() from generate_series(1, 5000) g`;
  await sql`analyze deliveries`;
  await sql`analyze receipts`;
  await useEverything(2);
  expect(defects()).toEqual([]);
});
