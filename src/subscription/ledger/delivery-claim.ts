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
  /** Of a consumer group: the hashes of the candidates' keys, and how many events may come to wait for other members. */
  group: { keys: readonly number[]; room: number } | null;
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
      looked: { firstSteps: number[]; firstDue: string | null; waiting: number } | null;
      /** Members that did not ask have something to claim. */
      others: boolean;
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
  waiting: number | null;
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
                 false as others, 0 as waiting
          from delivery_claim(
            ${call.cursor}, ${call.revision}, ${candidates.after}, ${candidates.upTo}, ${positions}::bigint[],
            ${names}::text[], ${wants}::int[], ${timeouts}::bigint[], ${leased}::boolean[], ${call.maxInFlight},
            ${call.look}, ${firstSteps}::bigint[], ${call.firstDue}::text::timestamptz)`
      : await sql<Row[]>`
          select status, step, place, now_at, claimants, counts, positions, attempts, deadlines_ms, first_steps, first_due,
                 others, waiting
          from delivery_claim_group(
            ${call.cursor}, ${call.revision}, ${candidates.after}, ${candidates.upTo}, ${positions}::bigint[],
            ${arrayLiteral(call.group.keys)}::bigint[], ${names}::text[], ${wants}::int[], ${timeouts}::bigint[],
            ${leased}::boolean[], ${call.maxInFlight}, ${call.group.room},
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
        : { firstSteps: readNumbers(row.first_steps) as number[], firstDue: row.first_due, waiting: row.waiting ?? 0 },
    others: row.others,
  };
}
