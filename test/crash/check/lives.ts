// The lives of a stream: a deletion ends one, and what a producer repeats may be stored once in each.
import type { Deletion } from "../log-snapshot.ts";

/** Which life of its stream an event belongs to, from 0 on. */
export type LifeOf = (stream: string, offset: number) => number;

/** Of streams that were never deleted. */
export const onlyLife: LifeOf = () => 0;

export function livesOf(deletions: readonly Deletion[]): LifeOf {
  const byStream = Map.groupBy(deletions, (deletion) => deletion.stream);
  return (stream, offset) => (byStream.get(stream) ?? []).filter((deletion) => deletion.to < offset).length;
}
