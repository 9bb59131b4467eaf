// A move of a mirror: how far it has come with the messages of a remote stream, and what became of those that are no events.
import { classify, mirrorMoved } from "../../storage/pg-errors.ts";
import type { Pool } from "../../storage/pool.ts";

/** Up to where a stream of JetStream has been mirrored. */
export type MirrorCursor = {
  jetstream: string;
  /** When that stream was made: another time is another stream. */
  created: string;
  /** 0 before the first message. */
  sequence: number;
  /** When JetStream stored the message of that sequence, in milliseconds; null before the first. */
  storedMs: number | null;
};

/** How far the log of another service has been mirrored. */
export type OriginOffset = { logId: string; stream: string; offset: number };

/** A message that could not become an event. */
export type RefusedMessage = {
  jetstream: string;
  sequence: number;
  storedMs: number;
  subject: string;
  headers: readonly (readonly [name: string, value: string])[];
  payload: Uint8Array;
  /** A code of the catalogue. */
  reason: string;
  detail: string;
  /** When to try again; null where that cannot help. */
  retryMs: number | null;
};

export type MirrorMove = {
  remote: number;
  /** Which the cursor has before the move; null where it stays. */
  revision: number | null;
  cursor: MirrorCursor | null;
  origins: readonly OriginOffset[];
  letters: readonly RefusedMessage[];
  /** Dead letters that have become events. */
  settled: readonly number[];
};

/** Moves a mirror by messages of which none is stored. Throws what `isMoved` knows when somebody else has moved it. */
export async function advanceMirror(pool: Pool, move: MirrorMove): Promise<void> {
  await pool.run((sql) => sql`select remote_advance(${printMoves([{ ...move, request: 0 }])}::text::json)`);
}

/** Whether a statement failed because somebody else has moved the mirror, or removed it. */
export function isMoved(error: unknown): boolean {
  return classify(error).code === mirrorMoved;
}

/** `request`: number of the request whose events go with it, from 1. */
export function printMoves(moves: readonly (MirrorMove & { request: number })[]): string {
  return JSON.stringify(
    moves.map(({ request, remote, revision, cursor, origins, letters, settled }) => ({
      request,
      remote,
      revision,
      ...cursor,
      origins,
      letters: letters.map((letter) => ({
        ...letter,
        subject: printable(letter.subject),
        headers: letter.headers.map((header) => header.map(printable)),
        detail: shortened(letter.detail),
        payload: Buffer.from(letter.payload).toString("base64"),
      })),
      settled,
    })),
  );
}

/** It is told to people, and may quote what strangers wrote. */
const maxDetailLength = 2_000;

export function shortened(detail: string): string {
  return printable(detail.slice(0, maxDetailLength));
}

/** Texts of strangers, as Postgres can hold them. */
function printable(text: string): string {
  return text.toWellFormed().replaceAll("\u0000", "\ufffd");
}
