// Makes and hashes identifiers.
import { createHash, randomBytes } from "node:crypto";

/** How far ids may be ahead of a clock that was set back, in milliseconds. */
const maxAheadMs = 60_000;

let lastMs = 0;
let sequence = 0;
let pool = randomBytes(8192);
let used = 0;

/**
 * A UUID version 7 (RFC 9562 section 5.7). Ids of one process ascend: the 12 bits behind the milliseconds count on
 * within one (section 6.2, method 1), so index entries of a batch stand side by side. They follow a clock that was set back by
 * more than a minute: an event whose id was made here is looked for at the time that the id tells.
 */
export function uuidv7(nowMs: number = Date.now()): string {
  if (nowMs > lastMs || nowMs < lastMs - maxAheadMs) {
    lastMs = nowMs;
    sequence = 0;
  } else if (++sequence > 0xfff) {
    lastMs++;
    sequence = 0;
  }
  if (used + 8 > pool.length) {
    pool = randomBytes(8192);
    used = 0;
  }
  const time = lastMs.toString(16).padStart(12, "0");
  const random = pool.toString("hex", used, used + 8);
  used += 8;
  const variant = "89ab"[Number.parseInt(random[0] as string, 16) & 3];
  const counter = sequence.toString(16).padStart(3, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7${counter}-${variant}${random.slice(1, 4)}-${random.slice(4, 16)}`;
}

/** When a UUID version 7 was made, in milliseconds since the epoch; null for anything else. */
export function uuidv7TimeMs(id: string): number | null {
  if (!/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i.test(id)) return null;
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}

/** The first 128 bits of SHA-256 over the parts, written as a UUID; parts are framed, so ("ab","c") differs from ("a","bc"). */
export function contentHash(parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash("sha256");
  // Few calls: each costs more than what is hashed in it.
  let text = "";
  for (const part of parts) {
    if (typeof part === "string") text += `${Buffer.byteLength(part)}:${part}`;
    else {
      hash.update(`${text}${part.byteLength}:`);
      hash.update(part);
      text = "";
    }
  }
  hash.update(text);
  const hex = hash.digest("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`;
}
