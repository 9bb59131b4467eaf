// What waits for the members of a group: handed out in order within each key, at a cost that does not grow with what waits.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import { put } from "../support/consume.ts";
import { type Service, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";

let service: Service;
let sql: postgres.Sql;
beforeAll(async () => {
  service = await startService();
  sql = openSql(service.databaseUrl);
});
afterAll(async () => {
  await sql.end();
  await service.stop();
});

const literal = (values: readonly (number | string)[]) => `{${values.join(",")}}`;
const numbers = (text: string | null) =>
  text === null || text === "{}" ? [] : text.slice(1, -1).split(",").map(Number);

type Claim = {
  after?: number;
  upTo?: number;
  candidates?: number[];
  keys?: number[];
  consumer: string;
  want: number;
  window?: number;
  look?: boolean;
};
type Portion = { positions: number[]; step: string; place: number; stoppedBy: string | null; stoppedAt: string | null };

/** A group with members, whose cursor is moved by the functions themselves, over positions that the test invents. */
async function openGroup(name: string, slots: number, members: string[]) {
  await put(`${service.url}/api/subscriptions/${name}`, {
    stream: name,
    mode: "consumer-group",
    from: "beginning",
    slots,
    maxAttempts: 1000,
    consumerTimeout: "1h",
  });
  const [found] = await sql`
    select s.id, k.id as cursor, k.start_position from subscriptions s join subscription_cursors k on k.subscription_id = s.id
    where s.name = ${name}`;
  const cursor = found?.cursor as string;
  for (const member of members) await sql`select consumer_join(${found?.id}, ${member}, null)`;
  const owners = await sql<
    { owner: string }[]
  >`select owner from group_slots where cursor_id = ${cursor} order by slot`;

  const claim = async (
    on: postgres.Sql,
    { after = -1, upTo = -1, candidates = [], keys = [], consumer, want, window = 1_000_000, look = false }: Claim,
  ) => {
    const [row] = await on`
      select step, place, status, positions::text, stopped_by, stopped_at from delivery_claim_group(
        ${cursor}, 1, ${after}, ${upTo}, ${literal(candidates)}::bigint[], ${literal(keys)}::bigint[],
        ${literal([consumer])}::text[], ${literal([want])}::int[], '{3600000}', '{true}', 1000000, ${window}, '{}', '{}', 0,
        ${look}, '{0}', '-infinity')`;
    expect(row?.status).toBe("ok");
    return {
      positions: numbers(row?.positions),
      step: row?.step,
      place: Number(row?.place),
      stoppedBy: row?.stopped_by,
      stoppedAt: row?.stopped_at,
    } as Portion;
  };
  const settle = async (on: postgres.Sql, step: string, positions: number[]) => {
    const [row] = await on`
      select delivery_settle(
        ${literal([cursor])}::bigint[], ${literal([step])}::bigint[], '{0}', '{null}', '{1}', ${literal([positions.length])}::int[],
        ${literal(positions)}::bigint[])::text as results`;
    return numbers(row?.results);
  };
  const giveBack = async (step: string, positions: number[], delayMs: number) => {
    const [row] = await sql`
      select delivery_return(
        ${cursor}, ${literal([step])}::bigint[], '{0}', '{null}', '{1}', ${literal([positions.length])}::int[],
        ${literal(positions)}::bigint[], 'requeue', ${delayMs}, 'test')::text as results`;
    return numbers(row?.results);
  };
  const makeDue = () =>
    sql`update deliveries set due = clock_timestamp() where cursor_id = ${cursor} and state = 'ready' and due > clock_timestamp()`;
  return {
    id: found?.id as string,
    cursor,
    owners: owners.map(({ owner }) => owner),
    claim,
    settle,
    giveBack,
    makeDue,
  };
}

/** How many rows of the ledger a task fetches. */
async function fetchedBy(task: (tx: postgres.Sql) => Promise<unknown>): Promise<number> {
  return sql.begin(async (tx) => {
    await tx`set local enable_seqscan = off`;
    const fetched = async () =>
      Number(
        (
          await tx`select coalesce(idx_tup_fetch, 0) + seq_tup_read as n from pg_stat_xact_user_tables where relname = 'deliveries'`
        )[0]?.n,
      );
    const before = await fetched();
    await task(tx as unknown as postgres.Sql);
    return (await fetched()) - before;
  });
}

const waitingRows = (cursor: string, owner: string, rows: number) => sql`
  insert into deliveries (cursor_id, step, part, state, due, positions, keys, owner)
    select ${cursor}, g, 0, 'ready', now(), array[g * 2, g * 2 + 1], array[g, g], ${owner} from generate_series(1, ${rows}) g`;

test("a claim does not read all that waits for its member", async () => {
  const group = await openGroup("many-wait", 1, ["a"]);
  await waitingRows(group.cursor, "a", 500);
  const fetched = await fetchedBy(async (tx) => {
    expect((await group.claim(tx, { consumer: "a", want: 3 })).positions).toEqual([2, 3, 4]);
  });
  expect(fetched).toBeLessThan(50);
});

test("settling a part of a lease does not read what waits", async () => {
  const group = await openGroup("partly-settled", 1, ["a"]);
  const lease = await group.claim(sql, {
    upTo: 3000,
    candidates: [2001, 2002, 2003],
    keys: [0, 0, 0],
    consumer: "a",
    want: 3,
  });
  expect(lease.positions).toEqual([2001, 2002, 2003]);
  await waitingRows(group.cursor, "a", 500);
  const fetched = await fetchedBy(async (tx) => expect(await group.settle(tx, lease.step, [2001])).toEqual([0]));
  expect(fetched).toBeLessThan(50);
  // Of several that are looked up, one look at each row.
  const looked = await fetchedBy(async (tx) =>
    expect(await group.settle(tx, lease.step, [4, 2001, 2002, 2500, 3001])).toEqual([2, 1, 0, 1, 2]),
  );
  expect(looked).toBeLessThan(1500);
});

test("what waits in batches that overlap is handed out in order within keys, the lowest first", async () => {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`seed ${seed}`);
  let state = seed >>> 0;
  const random = (below: number) => {
    // Mulberry32.
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
  const slots = 8;
  const group = await openGroup(`model-${seed}`, slots, ["a", "b"]);
  const keyOf = Array.from({ length: 600 }, () => random(16));
  const ownerOf = (position: number) => group.owners[(keyOf[position] as number) % slots] as string;

  // The model: of what is not settled, which lease it is in (null: waits), and what of it is due later.
  const open = new Map<number, string | null>();
  const later = new Set<number>();
  const settled = new Set<number>();
  let place = -1;
  const settleAll = (positions: number[]) => {
    for (const position of positions) {
      settled.add(position);
      open.delete(position);
    }
  };
  const leased = () => {
    const leases = new Map<string, number[]>();
    for (const [position, step] of open) if (step !== null) leases.set(step, [...(leases.get(step) ?? []), position]);
    return [...leases].map(([step, positions]) => ({ step, positions: positions.sort((x, y) => x - y) }));
  };
  const mayGo = (position: number) =>
    ![...later].some((other) => keyOf[other] === keyOf[position] && other <= position);

  const claim = async (consumer: string, want: number) => {
    const upTo = Math.min(keyOf.length - 1, place + random(40));
    const candidates = Array.from({ length: upTo - place }, (_, n) => place + 1 + n);
    const expected = [...open]
      .filter(([position, step]) => step === null && ownerOf(position) === consumer && mayGo(position))
      .map(([position]) => position)
      .sort((x, y) => x - y)
      .slice(0, want);
    const before = place;
    const keys = candidates.map((position) => keyOf[position] as number);
    const got = await group.claim(sql, { after: place, upTo, candidates, keys, consumer, want });
    expect(got.positions.filter((position) => position <= before)).toEqual(expected);
    expect(got.positions.length).toBeLessThanOrEqual(want);
    place = got.place;
    for (let position = before + 1; position <= place; position++) open.set(position, null);
    for (const position of got.positions) {
      expect(ownerOf(position)).toBe(consumer);
      expect(open.get(position)).toBeNull();
      open.set(position, got.step);
    }
    // Every lower event of its key is settled or out.
    for (const position of got.positions)
      for (const [other, step] of open)
        if (other < position && keyOf[other] === keyOf[position]) expect(step).not.toBeNull();
    return got.positions.length;
  };
  const some = (positions: number[]) => {
    const chosen = positions.filter(() => random(3) === 0);
    return chosen.length > 0 ? chosen : positions.slice(0, 1);
  };

  for (let n = 0; n < 500; n++) {
    const leases = leased();
    const lease = leases[random(Math.max(1, leases.length))];
    const what = random(20);
    if (what < 9 || lease === undefined) await claim(random(2) === 0 ? "a" : "b", 1 + random(random(4) === 0 ? 60 : 6));
    else if (what < 12) {
      const given = some(lease.positions);
      expect(await group.settle(sql, lease.step, given)).toEqual(given.map(() => 0));
      settleAll(given);
    } else if (what < 19) {
      const given = some(lease.positions);
      const delayMs = random(3) === 0 ? 3_600_000 : 0;
      expect(await group.giveBack(lease.step, given, delayMs)).toEqual(given.map(() => 0));
      for (const position of given) {
        open.set(position, null);
        if (delayMs > 0) later.add(position);
        for (const [other, step] of open)
          if (step !== null && other > position && keyOf[other] === keyOf[position]) open.set(other, null);
      }
    } else {
      await group.makeDue();
      later.clear();
    }
  }
  await group.makeDue();
  later.clear();
  for (let idle = 0; idle < 20; ) {
    const count = (await claim("a", 30)) + (await claim("b", 30));
    idle = count > 0 || place < keyOf.length - 1 ? 0 : idle + 1;
    for (const { step, positions } of leased()) {
      await group.settle(sql, step, positions);
      settleAll(positions);
    }
  }
  expect(settled.size).toBe(keyOf.length);
}, 120_000);

/** A group of three, and what each member has of a run of positions whose keys are their slots in turn. */
async function openThree(name: string) {
  const slots = 6;
  const group = await openGroup(name, slots, ["a", "b", "c"]);
  const keys = Array.from({ length: 600 }, (_, n) => n % slots);
  const candidates = keys.map((_, n) => n);
  const of = async (member: string) => {
    const rows = await sql<{ slot: number }[]>`
      select slot from group_slots where cursor_id = ${group.cursor} and owner = ${member} and next_owner is null`;
    const own = new Set(rows.map(({ slot }) => slot));
    return candidates.filter((n) => own.has(keys[n] as number));
  };
  const from = (after: number) => ({
    after,
    upTo: 599,
    candidates: candidates.slice(after + 1),
    keys: keys.slice(after + 1),
  });
  const waitingOf = async (owner: string) =>
    Number(
      (
        await sql`select coalesce(sum(cardinality(positions)), 0) as n from deliveries where cursor_id = ${group.cursor} and owner = ${owner} and owner >= ''`
      )[0]?.n,
    );
  return { ...group, of, from, waitingOf };
}

test("what waits for a member fills its own share of the window alone, and the claim says who has stopped it", async () => {
  const group = await openThree("shares");
  const ofA = await group.of("a");
  // A third of 90 may wait for b, and for c.
  const first = await group.claim(sql, { ...group.from(-1), consumer: "a", want: 500, window: 90, look: true });
  expect(await group.waitingOf("b")).toBe(30);
  expect(await group.waitingOf("c")).toBe(30);
  expect(["b", "c"]).toContain(first.stoppedBy as string);
  expect(first.positions).toEqual(ofA.filter((n) => n <= first.place));
  const stopped = first.stoppedBy as string;
  expect(Number(first.stoppedAt)).toBe((await group.of(stopped))[0] as number);
  const second = await group.claim(sql, {
    ...group.from(first.place),
    consumer: "a",
    want: 500,
    window: 90,
    look: true,
  });
  expect([second.positions, second.place, second.stoppedBy]).toEqual([[], first.place, stopped]);
  // When it takes some, there is room again.
  const taken = await group.claim(sql, {
    ...group.from(first.place),
    consumer: stopped,
    want: 10,
    window: 90,
    look: true,
  });
  expect(taken.positions).toEqual((await group.of(stopped)).slice(0, 10));
  expect(
    (await group.claim(sql, { ...group.from(first.place), consumer: "a", want: 500, window: 90, look: true })).place,
  ).toBeGreaterThan(first.place);
});

test("who takes nothing is set aside: its slots go to the others, those of which something is out when that is settled, and it comes back later", async () => {
  const group = await openThree("aside");
  // Of b, one event is out.
  const ofB = await group.of("b");
  const held = await group.claim(sql, { ...group.from(-1), consumer: "b", want: 1, window: 90, look: true });
  expect(held.positions).toEqual(ofB.slice(0, 1));
  const first = await group.claim(sql, { ...group.from(held.place), consumer: "a", want: 500, window: 90, look: true });
  const setAside = async (member: string, at: number) =>
    (await sql`select group_set_aside(${group.cursor}, ${member}, ${at}) as done`)[0]?.done as boolean;
  // What it has taken, or what is another's, is no reason.
  expect(await setAside("b", ofB[0] as number)).toBe(false);
  expect(await setAside("b", (await group.of("c"))[0] as number)).toBe(false);
  expect(await setAside("b", ofB[1] as number)).toBe(true);
  expect(await setAside("b", ofB[1] as number)).toBe(false);
  expect(await group.of("b")).toEqual([]);
  // What is in the draining slot waits outside of the window: the others go on over it, though nobody can take it yet.
  const drains = Number(
    (await sql`select slot from group_slots where cursor_id = ${group.cursor} and next_owner is not null`)[0]?.slot,
  );
  let place = first.place;
  const got: number[] = [...first.positions];
  for (let n = 0; n < 40; n++)
    for (const consumer of ["a", "c"]) {
      const more = await group.claim(sql, { ...group.from(place), consumer, want: 500, window: 90, look: true });
      place = more.place;
      got.push(...more.positions);
    }
  expect(place).toBe(599);
  expect(got.sort((x, y) => x - y)).toEqual(Array.from({ length: 600 }, (_, n) => n).filter((n) => n % 6 !== drains));
  const join = async () => (await sql`select outcome from consumer_join(${group.id}, 'b', null)`)[0]?.outcome;
  expect(await join()).toBe("present");
  expect(await group.of("b")).toEqual([]);
  // When it is settled, the slot moves, and what has waited comes in order.
  await group.settle(sql, held.step, held.positions);
  const rest: number[] = [];
  for (const consumer of ["a", "c"])
    rest.push(
      ...(await group.claim(sql, { ...group.from(599), consumer, want: 500, window: 90, look: true })).positions,
    );
  expect(rest).toEqual(ofB.slice(1).filter((n) => n % 6 === drains));
  expect(await join()).toBe("present");
  expect(
    (await sql`select set_aside from consumers where subscription_id = ${group.id} and name = 'b'`)[0]?.set_aside,
  ).toBeNull();
  const [slots] = await sql`
    select count(*)::int as n from group_slots where cursor_id = ${group.cursor} and coalesce(next_owner, owner) = 'b'`;
  expect(slots?.n).toBe(2);
});

test("the last member is never set aside", async () => {
  const group = await openGroup("alone", 2, ["a"]);
  await waitingRows(group.cursor, "a", 5);
  const [row] = await sql`select group_set_aside(${group.cursor}, 'a', 2) as done`;
  expect(row?.done).toBe(false);
});
