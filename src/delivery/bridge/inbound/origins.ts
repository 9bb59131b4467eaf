// What a mirror knows of the logs that its events come from: up to which offset it has had them, whatever JetStream repeats.
import type { OriginOffset } from "../../../stream/remote/move.ts";

/** By log and stream: the highest offset. Messages come in the order of their offsets, so that all before were there too. */
export type Origins = ReadonlyMap<string, OriginOffset>;

export function originsOf(known: readonly OriginOffset[]): Origins {
  return new Map(known.map((origin) => [keyOf(origin), origin]));
}

/** Whether an event was mirrored already, or lies before what was. */
export function isKnown(origins: Origins, origin: OriginOffset): boolean {
  const reached = origins.get(keyOf(origin));
  return reached !== undefined && origin.offset <= reached.offset;
}

/** With one more event, which comes behind what was known. */
export function withOrigin(origins: Map<string, OriginOffset>, origin: OriginOffset): void {
  if (!isKnown(origins, origin)) origins.set(keyOf(origin), origin);
}

function keyOf({ logId, stream }: OriginOffset): string {
  return `${logId}/${stream}`;
}
