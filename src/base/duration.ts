// Durations as they are written: a whole number and its unit.

const unitsMs = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000, ms: 1 } as const;

/** Reads `500ms`, `30s`, `5m`, `24h` or `7d`. Returns milliseconds; null when it is no duration. */
export function parseDuration(text: string): number | null {
  const found = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text);
  return found === null ? null : Number(found[1]) * unitsMs[found[2] as keyof typeof unitsMs];
}

/** Writes milliseconds in the largest unit that expresses them exactly. */
export function formatDuration(ms: number): string {
  const [unit, factor] = Object.entries(unitsMs).find(([, factor]) => ms % factor === 0) as [string, number];
  return ms === 0 ? "0s" : `${ms / factor}${unit}`;
}
