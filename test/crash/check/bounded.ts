// Invariants 3 and 5, for followers that asked for an end: they are given exactly what lies before it, and are told it.
import type { Connected, Entry, Frame } from "../history.ts";
import { isBounded, type Journal, journalsOf, placeOf } from "./journals.ts";

type Connection = { begun: Connected; frames: Frame[] };

/** What follows `sluice.end`, and what each connection was given, is as the bounds say; `followersSawTheLog` sees to the rest. */
export function boundsWereKept(history: readonly Entry[]): string[] {
  return journalsOf(history)
    .filter(({ reader }) => isBounded(reader))
    .flatMap((journal) => {
      const connections = connectionsOf(journal);
      return connections.flatMap((connection, i) =>
        [...connectionWrong(journal, connection), ...endWrong(connection, connections[i + 1])].map(
          (what) => `${journal.reader.reader} on its connection ${i} (${connection.begun.at} ms) ${what}`,
        ),
      );
    });
}

function connectionsOf({ entries }: Journal): Connection[] {
  const connections: Connection[] = [];
  for (const entry of entries) {
    if (entry.kind === "connected") connections.push({ begun: entry, frames: [] });
    else connections.at(-1)?.frames.push(entry);
  }
  return connections;
}

const isEnd = (frame: Frame | undefined) => frame?.id?.startsWith("end:") ?? false;

function connectionWrong({ reader }: Journal, { frames }: Connection): string[] {
  const violations: string[] = [];
  const place = placeOf(reader);
  const { to, limit } = reader;
  const shown = frames.flatMap((frame) => (frame.event === null ? [] : [frame.event]));
  const beyond = shown.find((event) => to !== null && event[place] > to);
  if (beyond !== undefined) violations.push(`was shown ${place} ${beyond[place]}, and wanted nothing behind ${to}`);
  if (limit !== null && shown.length > limit) violations.push(`was shown ${shown.length} events, and wanted ${limit}`);
  const end = frames.find(isEnd);
  if (end === undefined) return violations;
  const { reason } = JSON.parse(end.data ?? "{}") as { reason?: string };
  const at = Number(end.id?.slice("end:".length));
  if (end.name !== "sluice.end" || end !== frames.at(-1)) violations.push(`was told more behind its end, ${end.id}`);
  // A limit and an end that are reached by the same event may be told as either.
  const isRight =
    reason === "limit" ? shown.length === limit && at === shown.at(-1)?.[place] : reason === "to" && at === to;
  if (!isRight) violations.push(`was told the end ${reason} at ${at} after ${shown.length} events`);
  return violations;
}

/** Who was told its end asks once more with it, and is sent away; nobody else is. */
function endWrong({ begun, frames }: Connection, next: Connection | undefined): string[] {
  if (begun.status === 204) return next === undefined && frames.length === 0 ? [] : ["went on after a 204"];
  if (!isEnd(frames.at(-1)) || next === undefined) return [];
  return next.begun.status === 204 ? [] : [`was told its end, and then answered ${next.begun.status}`];
}
