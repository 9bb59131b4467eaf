// Looks up events by their ids soon after they were acknowledged: ids made by the service are found by its clock.
import { setTimeout as sleep } from "node:timers/promises";
import { doomedStreams } from "./doomed.ts";
import { type AppendAnswered, type AppendInvoked, type History, type LookedUp, seenEvent } from "./history.ts";
import { createHttpConnection } from "./http-connection.ts";
import type { Random } from "./random.ts";

export type LookupsOptions = { history: History; random: Random; ports: readonly number[]; stop: AbortSignal };

type Told = Pick<LookedUp, "stream" | "id" | "offset">;

const silenceMs = 8_000;
/** How far back in the history an acknowledgement is looked for. */
const window = 2_000;

export async function runLookups({ history, random, ports, stop }: LookupsOptions): Promise<void> {
  while (!stop.aborted) {
    await sleep(random.between(50, 300));
    const told = recentlyTold(history);
    if (told === null) continue;
    const connection = createHttpConnection(random.pick(ports));
    const path = `/api/streams/${told.stream}/events?limit=1&from=event:${told.id}`;
    const answer = await connection
      .send({ method: "GET", path, headers: { accept: "application/x-ndjson" }, silenceMs })
      .catch(() => null);
    connection.close();
    const line = answer?.status === 200 ? (answer.body.split("\n")[0] as string) : "";
    const first = line === "" ? null : seenEvent(line);
    history.add({ kind: "looked-up", at: history.now(), ...told, status: answer?.status ?? null, first });
  }
}

/** The newest acknowledged event of a stream that nobody deletes. */
function recentlyTold({ entries }: History): Told | null {
  const isDoomed = (stream: string) => (doomedStreams as readonly string[]).includes(stream);
  const answers = new Map<number, AppendAnswered>();
  for (let i = entries.length - 1; i >= Math.max(0, entries.length - window); i--) {
    const entry = entries[i] as AppendAnswered | AppendInvoked;
    if (entry.kind === "answered" && entry.outcome === "acknowledged") answers.set(entry.op, entry);
    if (entry.kind !== "invoked" || isDoomed(entry.stream)) continue;
    const event = answers.get(entry.op)?.stored[0];
    if (event !== undefined) return { stream: entry.stream, id: event.id, offset: event.offset };
  }
  return null;
}
