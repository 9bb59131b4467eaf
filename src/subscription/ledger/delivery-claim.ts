// Calls the SQL functions delivery_claim and delivery_claim_group: hands out events of one cursor to those who ask.
import { arrayLiteral, nameList, readNumbers } from "../../storage/lists.ts";
import type { Sql } from "../../storage/pool.ts";

export type ClaimCall = {
  cursor: number;
  revision: number;
  /** Everything that matches in (after, upTo]. */
  candidates: { after: number; upTo: number; positions: readonly number[] };
  claimants: readonly { consumer: string; want: number; timeoutMs: number; leased: boolean; firstStep: number }[];
  maxInFlight: number;
  look: boolean;
  firstDue: string;
  /**
   * Of a consumer group: the hashes of the candidates' keys; how many events may wait for members, in equal shares; how many
   * waited for each as of the last look, and how many have come since.
   */
  group: { keys: readonly number[]; window: number; waiting: ReadonlyMap<string, number>; added: number } | null;
};

/** What one claimant got: positions, how often each has been handed out, and until when it is theirs. */
export type Portion = { claimant: number; part: number; positions: number[]; attempts: number[]; deadline: string };

export type ClaimOutcome =
  | { status: "gone" | "changed" | "paused" | "completed" }
  | {
      status: "ok";
      step: number;
      place: number;
      /** The database's time, RFC 3339. */
      now: string;
      portions: Portion[];
      /** Only after a look: the first steps of what each claimant holds, and when the next thing is due. */
      looked: { firstSteps: number[]; firstDue: string | null; waiting: ReadonlyMap<string, number> } | null;
      /** Members that did not ask have something to claim. */
      others: boolean;
      /** How many events came to wait for members. */
      added: number;
      /** The member whose share was full, so that the cursor goes no further, and the first event that it could take. */
      stopped: { member: string; at: number | null } | null;
    };

type Row = {
  status: "ok" | "gone" | "changed" | "paused" | "completed";
  step: string;
  place: string;
  now_at: string;
  claimants: string;
  counts: string;
  positions: string;
  attempts: string;
  deadlines_ms: string;
  first_steps: string | null;
  first_due: string | null;
  others: boolean;
  added: number;
  owners: string | null;
  waiting: string | null;
  stopped_by: string | null;
  stopped_at: string | null;
};

export async function callDeliveryClaim(sql: Sql, call: ClaimCall): Promise<ClaimOutcome> {
  const { candidates, claimants } = call;
  const positions = arrayLiteral(candidates.positions);
  const names = nameList(claimants.map((claimant) => claimant.consumer));
  const wants = arrayLiteral(claimants.map((claimant) => claimant.want));
  const timeouts = arrayLiteral(claimants.map((claimant) => claimant.timeoutMs));
  const leased = arrayLiteral(claimants.map((claimant) => String(claimant.leased)));
  const firstSteps = arrayLiteral(claimants.map((claimant) => claimant.firstStep));
  const rows =
    call.group === null
      ? await sql<Row[]>`
          select status, step, place, now_at, claimants, counts, positions, attempts, deadlines_ms, first_steps, first_due,
                 false as others, 0 as added, null as owners, null as waiting, null as stopped_by, null as stopped_at
          from delivery_claim(
            ${call.cursor}, ${call.revision}, ${candidates.after}, ${candidates.upTo}, ${positions}::bigint[],
            ${names}::text[], ${wants}::int[], ${timeouts}::bigint[], ${leased}::boolean[], ${call.maxInFlight},
            ${call.look}, ${firstSteps}::bigint[], ${call.firstDue}::text::timestamptz)`
      : await sql<Row[]>`
          select status, step, place, now_at, claimants, counts, positions, attempts, deadlines_ms, first_steps, first_due,
                 others, added, array_to_string(owners, ',') as owners, waiting, stopped_by, stopped_at
          from delivery_claim_group(
            ${call.cursor}, ${call.revision}, ${candidates.after}, ${candidates.upTo}, ${positions}::bigint[],
            ${arrayLiteral(call.group.keys)}::bigint[], ${names}::text[], ${wants}::int[], ${timeouts}::bigint[],
            ${leased}::boolean[], ${call.maxInFlight}, ${call.group.window}, ${nameList([...call.group.waiting.keys()])}::text[],
            ${arrayLiteral([...call.group.waiting.values()])}::int[], ${call.group.added},
            ${call.look}, ${firstSteps}::bigint[], ${call.firstDue}::text::timestamptz)`;
  const row = rows[0] as Row;
  if (row.status !== "ok") return { status: row.status };
  const counts = readNumbers(row.counts) as number[];
  const handedOut = readNumbers(row.positions) as number[];
  const attempts = readNumbers(row.attempts) as number[];
  const deadlines = readNumbers(row.deadlines_ms) as number[];
  let at = 0;
  const portions = (readNumbers(row.claimants) as number[]).map((claimant, part) => {
    const end = at + (counts[part] as number);
    const portion = {
      claimant: claimant - 1,
      part,
      positions: handedOut.slice(at, end),
      attempts: attempts.slice(at, end),
      deadline: new Date(deadlines[part] as number).toISOString(),
    };
    at = end;
    return portion;
  });
  return {
    status: "ok",
    step: Number(row.step),
    place: Number(row.place),
    now: row.now_at,
    portions,
    looked:
      row.first_steps === null
        ? null
        : { firstSteps: readNumbers(row.first_steps) as number[], firstDue: row.first_due, waiting: waitingOf(row) },
    others: row.others,
    added: row.added,
    stopped:
      row.stopped_by === null
        ? null
        : { member: row.stopped_by, at: row.stopped_at === null ? null : Number(row.stopped_at) },
  };
}

function waitingOf({ owners, waiting }: Row): ReadonlyMap<string, number> {
  if (owners === null || owners === "" || waiting === null) return new Map();
  const counts = readNumbers(waiting) as number[];
  // Names of consumers have no commas.
  return new Map(owners.split(",").map((owner, i) => [owner, counts[i] as number]));
}

/** Calls the SQL function group_set_aside. */
export async function callGroupSetAside(sql: Sql, cursor: number, member: string, at: number): Promise<boolean> {
  const rows = await sql<{ done: boolean }[]>`select group_set_aside(${cursor}, ${member}, ${at}) as done`;
  return rows[0]?.done === true;
}
