// Measures in turn, so that a machine whose speed drifts does it to all, and compares what was measured together.
import { rounds } from "./settings.ts";

export type Comparison = { service: number; yardstick: number; ratio: number };

/** Runs the measurements one after the other, in as many rounds as are set; returns what each round gave. */
export async function inTurn<First, Rest extends unknown[]>(
  first: () => Promise<First>,
  ...rest: { [I in keyof Rest]: () => Promise<Rest[I]> }
): Promise<[First, ...Rest][]> {
  const measured: [First, ...Rest][] = [];
  for (let round = 0; round < rounds; round++) {
    const results: unknown[] = [await first()];
    for (const measure of rest) results.push(await measure());
    measured.push(results as [First, ...Rest]);
  }
  return measured;
}

/** The medians of two columns, and the median of the rounds' ratios. */
export function compare<Round>(
  measured: readonly Round[],
  service: (round: Round) => number,
  yardstick: (round: Round) => number,
): Comparison {
  return {
    service: median(measured.map(service)),
    yardstick: median(measured.map(yardstick)),
    ratio: median(measured.map((round) => service(round) / yardstick(round))),
  };
}

export function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

/** The value that this share of the values does not exceed; the mean of two where the middle lies between them. */
export function percentile(values: readonly number[], share: number): number {
  if (values.length === 0) throw new Error("nothing was measured");
  const sorted = [...values].sort((a, b) => a - b);
  const place = share * (sorted.length - 1);
  const below = sorted[Math.floor(place)] as number;
  const above = sorted[Math.ceil(place)] as number;
  return share === 0.5 ? (below + above) / 2 : above;
}
