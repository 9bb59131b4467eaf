// The log file of the embedded Postgres: kept small, and quoted in errors.
import { copyFile, open, stat, truncate } from "node:fs/promises";

const maxBytes = 10 * 2 ** 20;

/** Empties the log file when it has grown beyond 10 MB, and keeps what it held beside it as `.1`. */
export async function rotateServerLog(path: string): Promise<void> {
  const size = (await stat(path).catch(() => undefined))?.size ?? 0;
  if (size <= maxBytes) return;
  // Postgres appends through its open file, so emptying that file in place is enough.
  await copyFile(path, `${path}.1`);
  await truncate(path);
}

/** Returns the size of the log file in bytes, as a mark from which to quote later. */
export async function markServerLog(path: string): Promise<number> {
  return (await stat(path).catch(() => undefined))?.size ?? 0;
}

/** Returns the last lines (at most 4 kB) that were written to the log file after `mark`. */
export async function quoteServerLog(path: string, mark = 0): Promise<string> {
  const file = await open(path, "r").catch(() => undefined);
  if (!file) return "";
  try {
    const { size } = await file.stat();
    const from = Math.max(mark <= size ? mark : 0, size - 4096);
    const buffer = Buffer.alloc(size - from);
    await file.read(buffer, 0, buffer.length, from);
    return buffer.toString("utf8").trim();
  } finally {
    await file.close();
  }
}
