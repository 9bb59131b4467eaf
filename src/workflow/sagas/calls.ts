// Calls the SQL functions of sagas: many sagas travel in one call, and each has its own outcome.
import type { HeldLease } from "../../storage/lease.ts";
import { arrayLiteral, nameList, readNumbers, textList } from "../../storage/lists.ts";
import type { Sql } from "../../storage/pool.ts";
import { type Awaited, awaitedText } from "./awaited.ts";
import { type Instance, instanceColumns, instanceOf, type Places, progressText, type SagaRow } from "./instance.ts";
import type { Progress } from "./progress.ts";
import { eventLists, type OutgoingEvent } from "./saga-events.ts";

export type StartCall = {
  id: string;
  saga: string;
  version: number;
  correlationId: string;
  steps: readonly string[];
  progress: Progress;
  places: Places;
  data: string;
  /** Of the request, where it has an Idempotency-Key. */
  requestHash: string | null;
  /** It is carried out here and now. */
  run: boolean;
  events: readonly OutgoingEvent[];
};

/** `again`: it was started before by the same request; `conflict`: its id belongs to another one. */
export type StartOutcome = "started" | "again" | "conflict";

const startOutcomes: readonly StartOutcome[] = ["started", "again", "conflict"];

export async function callSagaStart(sql: Sql, owner: string, batch: readonly StartCall[]): Promise<StartOutcome[]> {
  const e = eventLists(batch);
  const [row] = await sql<{ outcomes: string }[]>`
    select saga_start(
      ${owner}, ${arrayLiteral(batch.map(({ id }) => id))}::uuid[], ${arrayLiteral(batch.map(({ run }) => String(run)))}::boolean[],
      ${arrayLiteral(batch.map(({ version }) => version))}::int[],
      ${arrayLiteral(batch.map(({ requestHash }) => requestHash))}::uuid[],
      ${textList(batch.map(({ saga }) => saga))}, ${textList(batch.map(({ progress }) => progress.state))},
      ${textList(batch.map(({ correlationId }) => correlationId))}, ${textList(batch.map(({ steps }) => steps.join(",")))},
      ${textList(batch.map(({ progress, places }) => progressText(progress, places)))}, ${textList(batch.map(({ data }) => data))},
      ${e.saga}::int[], ${e.own}::boolean[], ${e.version}::int[], ${e.stream}, ${e.type}, ${e.data}, ${e.id},
      ${e.correlation}, ${e.partitionKey}, ${e.attributes}) as outcomes`;
  return (readNumbers(row?.outcomes as string) as number[]).map((code) => startOutcomes[code] as StartOutcome);
}

export type RecordCall = {
  /** As it is before. */
  instance: Pick<Instance, "id" | "epoch" | "turn" | "progress">;
  version: number;
  steps: readonly string[];
  progress: Progress;
  places: Places;
  /** Null where the data stay as they are. */
  data: string | null;
  /** The event that it waits for. */
  waitingFor: Awaited | null;
  /** It is given up, and due after so many milliseconds; null where its owner goes on, infinite until somebody asks. */
  restMs: number | null;
  events: readonly OutgoingEvent[];
};

/** `stale`: it is somebody else's by now. Flags: somebody has paused or cancelled it, or taken that back, and nothing is recorded. */
export type RecordOutcome = "recorded" | "stale" | { paused: boolean; cancelRequested: boolean };

/** Null for the owner of sagas that nobody owns. */
export async function callSagaRecord(
  sql: Sql,
  owner: string | null,
  batch: readonly RecordCall[],
): Promise<RecordOutcome[]> {
  const e = eventLists(batch);
  const flags = ({ paused, cancelRequested }: Progress) => Number(paused) + 2 * Number(cancelRequested);
  const rest = ({ restMs }: RecordCall) => (restMs === null || Number.isFinite(restMs) ? restMs : -1);
  const [row] = await sql<{ outcomes: string }[]>`
    select saga_record(
      ${owner}, ${arrayLiteral(batch.map(({ instance }) => instance.id))}::uuid[],
      ${arrayLiteral(batch.map(({ instance }) => instance.epoch))}::bigint[],
      ${arrayLiteral(batch.map(({ instance }) => instance.turn))}::bigint[],
      ${arrayLiteral(batch.map(({ instance }) => flags(instance.progress)))}::int[],
      ${arrayLiteral(batch.map(({ version }) => version))}::int[], ${arrayLiteral(batch.map(rest))}::double precision[],
      ${textList(batch.map(({ progress }) => progress.state))}, ${textList(batch.map(({ waitingFor }) => (waitingFor === null ? null : awaitedText(waitingFor))))},
      ${textList(batch.map(({ steps }) => steps.join(",")))},
      ${textList(batch.map(({ progress, places }) => progressText(progress, places)))}, ${textList(batch.map(({ data }) => data))},
      ${e.saga}::int[], ${e.own}::boolean[], ${e.version}::int[], ${e.stream}, ${e.type}, ${e.data}, ${e.id},
      ${e.correlation}, ${e.partitionKey}, ${e.attributes}) as outcomes`;
  return (readNumbers(row?.outcomes as string) as number[]).map((code) => {
    // One that was recorded before is one whose outcome was not known.
    if (code <= 1) return "recorded";
    return code === 2 ? "stale" : { paused: (code & 1) !== 0, cancelRequested: (code & 2) !== 0 };
  });
}

/** Takes sagas that are due; `known`: their names, and up to which version. */
export async function callSagaClaim(
  sql: Sql,
  owner: string,
  known: ReadonlyMap<string, number>,
  limit: number,
): Promise<Instance[]> {
  const rows = await sql<SagaRow[]>`
    select ${instanceColumns(sql)}
    from saga_claim(${owner}, ${nameList([...known.keys()])}::text[], ${arrayLiteral([...known.values()])}::int[], ${limit})`;
  return rows.map(instanceOf);
}

/** Frees the sagas of owners that died, and those of this one that are not in its hand. Returns how many. */
export async function callSagaFree(
  sql: Sql,
  own: { owner: string; inHand: readonly string[] } | null,
): Promise<number> {
  const [row] = await sql<{ freed: number }[]>`
    select saga_free(${own?.owner ?? null}, ${arrayLiteral(own?.inHand ?? [])}::uuid[]) as freed`;
  return row?.freed ?? 0;
}

export type Flag = "pause" | "resume" | "cancel";

/** Pauses, resumes or cancels; `told`: the event that tells of it. */
export async function callSagaFlag(
  sql: Sql,
  id: string,
  flag: Flag,
  told: { type: string; data: string },
): Promise<"missing" | "ended" | "unchanged" | "changed"> {
  const [row] = await sql<{ outcome: "missing" | "ended" | "unchanged" | "changed" }[]>`
    select saga_flag(${id}, ${flag}, ${told.type}, ${told.data}::text::json) as outcome`;
  return row?.outcome ?? "missing";
}

/** Makes sagas due whose events lie in (after, upTo]. Returns how far it looked, and how many became due. */
export async function callSagaWatch(
  sql: Sql,
  lease: HeldLease,
  after: number,
  upTo: number,
  save: boolean,
): Promise<{ reached: number; woken: number }> {
  const [row] = await sql<{ reached: string; woken: number }[]>`
    select reached, woken from saga_watch(${lease.name}, ${lease.owner}, ${lease.epoch}, ${after}, ${upTo}, ${save})`;
  return { reached: Number(row?.reached), woken: row?.woken ?? 0 };
}

/** Forgets sagas that were completed or compensated so long ago. Returns how many. */
export async function callSagasForget(sql: Sql, windowMs: number, limit: number): Promise<number> {
  const [row] = await sql<{ forgotten: number }[]>`
    select sagas_forget(${`${windowMs} ms`}::text::interval, ${limit}) as forgotten`;
  return row?.forgotten ?? 0;
}
