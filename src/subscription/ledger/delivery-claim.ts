// Calls the SQL function delivery_claim: hands out events of one cursor to those who ask.
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
      looked: { firstSteps: number[]; firstDue: string | null } | null;
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
};

export async function callDeliveryClaim(sql: Sql, call: ClaimCall): Promise<ClaimOutcome> {
  const { candidates, claimants } = call;
  const rows = await sql<Row[]>`
    select status, step, place, now_at, claimants, counts, positions, attempts, deadlines_ms, first_steps, first_due
    from delivery_claim(
      ${call.cursor}, ${call.revision}, ${candidates.after}, ${candidates.upTo}, ${arrayLiteral(candidates.positions)}::bigint[],
      ${nameList(claimants.map((c) => c.consumer))}::text[], ${arrayLiteral(claimants.map((c) => c.want))}::int[],
      ${arrayLiteral(claimants.map((c) => c.timeoutMs))}::bigint[], ${arrayLiteral(claimants.map((c) => String(c.leased)))}::boolean[],
      ${call.maxInFlight}, ${call.look}, ${arrayLiteral(claimants.map((c) => c.firstStep))}::bigint[], ${call.firstDue}::text::timestamptz)`;
  const row = rows[0] as Row;
  if (row.status !== "ok") return { status: row.status };
  const counts = readNumbers(row.counts) as number[];
  const positions = readNumbers(row.positions) as number[];
  const attempts = readNumbers(row.attempts) as number[];
  const deadlines = readNumbers(row.deadlines_ms) as number[];
  let at = 0;
  const portions = (readNumbers(row.claimants) as number[]).map((claimant, part) => {
    const end = at + (counts[part] as number);
    const portion = {
      claimant: claimant - 1,
      part,
      positions: positions.slice(at, end),
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
        : { firstSteps: readNumbers(row.first_steps) as number[], firstDue: row.first_due },
  };
}
