// Cuts a stream of text into lines.
import type { Readable } from "node:stream";

/** Calls back with each whole line, without its line feed. */
export function onLines(source: Readable, take: (line: string) => void): void {
  // Pieces are joined when their line is whole: a long line in many pieces must not be copied with each of them.
  let pieces: string[] = [];
  source.setEncoding("utf8");
  source.on("data", (chunk: string) => {
    let start = 0;
    for (let end = chunk.indexOf("\n"); end !== -1; end = chunk.indexOf("\n", start)) {
      const rest = chunk.slice(start, end);
      start = end + 1;
      if (pieces.length === 0) take(rest);
      else {
        pieces.push(rest);
        const line = pieces.join("");
        pieces = [];
        take(line);
      }
    }
    if (start < chunk.length) pieces.push(start === 0 ? chunk : chunk.slice(start));
  });
}
