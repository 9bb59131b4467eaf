// Finds the position at which a cursor begins, from the place that a user gives.
import { cursorBeyondHead } from "../../base/errors.ts";
import { parsePlace } from "../../stream/place.ts";
import type { LogReader } from "../../stream/range.ts";
import { cursorBefore, positionOf, readHead } from "../../stream/resolve.ts";
import { readLogId, readStreamHeads } from "../../stream/stream-head.ts";

/**
 * The last position before a place: an offset of the one stream, or a position where there are several (null: all
 * persistent ones). Throws `invalid-place`, `cursor-beyond-head`.
 */
export async function positionBefore(
  reader: LogReader,
  streams: readonly string[] | null,
  parameter: string,
  text: string,
): Promise<number> {
  const place = parsePlace(parameter, text);
  return reader.pool.run(async (sql) => {
    const head = await readHead(sql, reader.knownHead());
    if (place.kind === "latest") return head;
    if (place.kind === "beginning") return -1;
    const heads = streams === null ? null : await readStreamHeads(sql, streams);
    const only = heads?.length === 1 && streams?.length === 1 ? heads[0] : undefined;
    if (only !== undefined) return (await cursorBefore(sql, only, place, head, parameter)).position;
    // Of a stream that never was, an offset is no position.
    if (place.kind === "number" && streams?.length === 1) {
      if (place.value > 0) throw cursorBeyondHead(place.text, "-1", await readLogId(sql));
      return head;
    }
    const position = (await positionOf(sql, place, head, parameter, heads?.map((stream) => stream.id) ?? null)) - 1;
    if (position > head) throw cursorBeyondHead(String(position + 1), String(head), await readLogId(sql));
    return position;
  });
}
