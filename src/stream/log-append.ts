// Calls the SQL function log_append: one batch of requests as parallel lists.
import { arrayLiteral, textList } from "../storage/lists.ts";
import type { Sql } from "../storage/pool.ts";
import type { AppendRequest, CommandAnswer, Expected } from "./append-request.ts";
import { type MirrorMove, printMoves } from "./remote/move.ts";
import type { Checked } from "./schema/validation.ts";

/** The function's answer; arrays as they stand on the wire. */
export type LogAppendRow = {
  status: string;
  actual: string;
  offsets: string;
  relative: string;
  positions: string;
  duplicates: string;
  base: string | null;
  recorded: string | null;
};

/** Requests that are stored together or not at all, and what is answered with them. */
export type RequestGroup = {
  requests: readonly AppendRequest[];
  /** How each of them was checked against the schemas of its events; null when none was. */
  checked: readonly Checked[] | null;
  answer: CommandAnswer | null;
};

export function callLogAppend(sql: Sql, batch: readonly AppendRequest[]): Promise<LogAppendRow> {
  return appendGroups(
    sql,
    batch.map((request) => ({ requests: [request], checked: null, answer: null })),
  );
}

export async function appendGroups(sql: Sql, groups: readonly RequestGroup[]): Promise<LogAppendRow> {
  const streamIndex = new Map<string, number>();
  for (const { requests } of groups) for (const { stream } of requests) streamIndex.set(stream, 0);
  const streams = [...streamIndex.keys()].sort();
  for (let i = 0; i < streams.length; i++) streamIndex.set(streams[i] as string, i + 1);
  const r = {
    stream: [] as number[],
    expected: [] as (number | null)[],
    count: [] as number[],
    key: [] as (string | null)[],
    hash: [] as (string | null)[],
    validation: [] as number[],
    born: [] as (number | null)[],
    lastId: [] as (string | null)[],
    group: [] as number[],
  };
  const e = {
    known: [] as (number | null)[],
    hash: [] as (string | null)[],
    bytes: [] as number[],
    version: [] as number[],
    id: [] as string[],
    type: [] as string[],
    correlation: [] as (string | null)[],
    partitionKey: [] as (string | null)[],
    attributes: [] as string[],
    data: [] as (string | null)[],
    binary: [] as (string | null)[],
  };
  const k = { stream: [] as number[], id: [] as string[], source: [] as string[] };
  const a = { group: [] as number[], key: [] as string[], hash: [] as string[], answer: [] as string[] };
  const o = { row: [] as number[], request: [] as number[] };
  const moves: (MirrorMove & { request: number })[] = [];
  const knownIndex = new Map<string, number>();
  let keyed = false;
  let checked = false;
  let exact = false;
  let built = false;
  let binary = false;

  function add(request: AppendRequest, checks: Checked | null, group: number): void {
    const { expected, idempotency } = request;
    const stream = streamIndex.get(request.stream) as number;
    r.stream.push(stream);
    r.expected.push(expectedNumber(expected));
    r.count.push(request.events.length);
    r.key.push(idempotency === null ? null : idempotency.key);
    r.hash.push(idempotency === null ? null : idempotency.requestHash);
    if (idempotency !== null) keyed = true;
    r.validation.push(checks === null ? 0 : validationCode(checks));
    if (checks !== null && checks.mode !== 0) checked = true;
    const version = typeof expected === "object" ? expected : null;
    r.born.push(version === null ? null : version.bornOffset);
    r.lastId.push(version === null ? null : version.eventId);
    if (version !== null) exact = true;
    if (version !== null && version.eventId !== null) built = true;
    r.group.push(group);
    if (request.mirror !== undefined) moves.push({ ...request.mirror, request: r.stream.length });
    if (request.outbox !== undefined) {
      for (const row of request.outbox) {
        o.row.push(row);
        o.request.push(r.stream.length);
      }
    }
    for (const event of request.events) {
      let known: number | null = null;
      if (event.known) {
        const identity = `${stream}\n${event.source}\n${event.id}`;
        known = knownIndex.get(identity) ?? null;
        if (known === null) {
          k.stream.push(stream);
          k.id.push(event.id);
          k.source.push(event.source);
          known = k.id.length;
          knownIndex.set(identity, known);
        }
      }
      e.known.push(known);
      e.hash.push(event.hash);
      e.bytes.push(event.bytes);
      e.version.push(event.schemaVersion);
      e.id.push(event.id);
      e.type.push(event.type);
      e.correlation.push(event.correlationId);
      e.partitionKey.push(event.partitionKey);
      e.attributes.push(event.attributes);
      e.data.push(event.data);
      e.binary.push(event.binary === null ? null : `"\\\\x${Buffer.from(event.binary).toString("hex")}"`);
      if (event.binary !== null) binary = true;
    }
  }

  for (let n = 0; n < groups.length; n++) {
    const { requests, checked: checks, answer } = groups[n] as RequestGroup;
    for (let i = 0; i < requests.length; i++) add(requests[i] as AppendRequest, checks?.[i] ?? null, n);
    if (answer === null) continue;
    a.group.push(n);
    a.key.push(answer.key);
    a.hash.push(answer.requestHash);
    a.answer.push(answer.answer);
  }
  const answers = a.group.length > 0;
  const grouped = answers || groups.length < r.stream.length;
  const hasKnown = k.id.length > 0;
  const hasRows = o.row.length > 0;
  const rows = await sql<LogAppendRow[]>`
    select status, actual, offsets, relative, positions, duplicates, base, recorded
    from log_append(
      ${textList(streams)},
      ${arrayLiteral(r.stream)}::int[], ${arrayLiteral(r.expected)}::bigint[], ${arrayLiteral(r.count)}::int[],
      ${keyed ? textList(r.key) : null}::text, ${keyed ? arrayLiteral(r.hash) : null}::uuid[],
      ${hasKnown ? arrayLiteral(e.known) : null}::int[], ${hasKnown ? arrayLiteral(e.hash) : null}::uuid[],
      ${arrayLiteral(e.bytes)}::int[], ${arrayLiteral(e.version)}::int[], ${textList(e.id)}, ${textList(e.type)},
      ${textList(e.correlation)}, ${textList(e.partitionKey)}, ${textList(e.attributes)}, ${textList(e.data)},
      ${binary ? arrayLiteral(e.binary) : null}::bytea[],
      ${hasKnown ? arrayLiteral(k.stream) : null}::int[], ${hasKnown ? textList(k.id) : null}::text,
      ${hasKnown ? textList(k.source) : null}::text, ${checked ? arrayLiteral(r.validation) : null}::int[],
      ${exact ? arrayLiteral(r.born) : null}::bigint[], ${built ? textList(r.lastId) : null}::text,
      ${grouped ? arrayLiteral(r.group) : null}::int[], ${answers ? arrayLiteral(a.group) : null}::int[],
      ${answers ? textList(a.key) : null}::text, ${answers ? arrayLiteral(a.hash) : null}::uuid[],
      ${answers ? textList(a.answer) : null}::text,
      ${hasRows ? arrayLiteral(o.row) : null}::bigint[], ${hasRows ? arrayLiteral(o.request) : null}::int[],
      ${moves.length > 0 ? printMoves(moves) : null}::text::json)`;
  return rows[0] as LogAppendRow;
}

function validationCode({ mode, mismatch }: Checked): number {
  return mode === 2 && mismatch !== null ? 3 : mode;
}

function expectedNumber(expected: Expected): number | null {
  switch (expected) {
    case "any":
      return null;
    case "nothing":
      return -1;
    case "something":
      return -2;
    default:
      return typeof expected === "object" ? expected.offset : expected;
  }
}
