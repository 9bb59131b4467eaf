// Hashes keys of events: the order of a consumer group holds within one hash, and its slot follows from it.
import type { StoredEvent } from "../../stream/event.ts";

/** FNV-1a over the text's UTF-16 code units, from an offset basis. */
function fnv1a(text: string, basis: number): number {
  let hash = basis;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  // The last characters would else not reach the upper bits.
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}

/**
 * The hash of an event's partition key, of 52 bits. It is stored in the ledger and must never change. An event without a
 * key has no order to keep: each is a key of its own.
 */
export function keyHash({ partitionKey, position }: Pick<StoredEvent, "partitionKey" | "position">): number {
  const text = partitionKey ?? `\0${position}`;
  return fnv1a(text, 0x811c9dc5) * 0x100000 + (fnv1a(text, 0x27d4eb2f) & 0xfffff);
}
