// Whether two variants have no data in common, as far as types, listed values and properties that discriminate tell it.

import { statedBy } from "./stated.ts";
import { kind, refuses } from "./values.ts";
import type { Variant } from "./variants.ts";

const maxDepth = 3;

/** When in doubt the answer is false. */
export function areApart(a: Variant, b: Variant, depth = maxDepth): boolean {
  if (!a.side.spend(4)) return false;
  const kinds = a.kinds & b.kinds;
  if (kinds === 0) return true;
  if (a.texts !== null && b.texts !== null) {
    return a.texts.isDisjointFrom(b.texts);
  }
  const isRefused = (values: readonly unknown[], { schemas }: Variant) =>
    values.every((value) => schemas.some((schema) => refuses(schema, value, false)));
  if (a.values !== null && isRefused(a.values, b)) return true;
  if (b.values !== null && isRefused(b.values, a)) return true;
  if (kinds !== kind.object || depth === 0) return false;
  const [left, right] = [statedBy(a), statedBy(b)];
  // A property that one of them requires is there in common data, so it has to be valid by both.
  const tellsApart = (name: string) => {
    const others = b.side.variants(right.of(name));
    return a.side.variants(left.of(name)).every((one) => others.every((other) => areApart(one, other, depth - 1)));
  };
  for (const name of left.required) if (tellsApart(name)) return true;
  for (const name of right.required) if (!left.required.has(name) && tellsApart(name)) return true;
  return false;
}
