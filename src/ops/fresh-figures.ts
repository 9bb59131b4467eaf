// Figures that are read from the database for the metrics: one read for all gauges, and no more often than is useful.

/** The figures are used for so long, in milliseconds; whoever waits for them longer goes without. */
const freshMs = 5_000;
const withinMs = 500;

/** The figures of the last read; null while the database is slow or away. */
export function createFreshFigures<Figures>(read: () => Promise<Figures>): () => Promise<Figures | null> {
  let known: Figures | null = null;
  let readAt = Number.NEGATIVE_INFINITY;
  let reading: Promise<void> | null = null;

  return async () => {
    if (performance.now() - readAt > freshMs) {
      readAt = performance.now();
      known = null;
      reading = read().then(
        (found) => {
          known = found;
        },
        () => {},
      );
    }
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, withinMs);
    });
    await Promise.race([reading, late]);
    clearTimeout(timer);
    return known;
  };
}
