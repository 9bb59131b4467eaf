// Chooses the media type of an answer (RFC 9110, section 12.5.1).
import { Problem } from "../base/errors.ts";

type Range = { range: string; quality: number; order: number };

/**
 * The offered type that the `Accept` header prefers; the first offer when the header is missing or open to all. Among
 * equals the more specific range wins, then the one that the client names first. Throws `not-acceptable`.
 */
export function negotiate<Type extends string>(accept: string | null, offers: readonly [Type, ...Type[]]): Type {
  if (accept === null || accept.trim() === "" || accept === "*/*") return offers[0];
  const ranges = accept.split(",").map(readRange);
  let best: { offer: Type; by: Range } | null = null;
  for (const offer of offers) {
    // The most specific range that covers a type decides about it: a quality of 0 there refuses it.
    const by = ranges
      .filter(({ range }) => covers(range, offer))
      .sort((a, b) => specificity(b.range) - specificity(a.range))[0];
    if (by !== undefined && by.quality > 0 && (best === null || precedes(by, best.by))) best = { offer, by };
  }
  if (best === null) {
    throw new Problem("not-acceptable", `The resource can be had as ${offers.join(", ")}`, { offers });
  }
  return best.offer;
}

function readRange(part: string, order: number): Range {
  const [range = "", ...parameters] = part.split(";").map((s) => s.trim().toLowerCase());
  const given = parameters.find((p) => p.startsWith("q="));
  const quality = given === undefined ? 1 : Number(given.slice(2));
  return { range, quality: Number.isNaN(quality) ? 0 : quality, order };
}

function covers(range: string, offer: string): boolean {
  return range === offer || range === "*/*" || (range.endsWith("/*") && offer.startsWith(range.slice(0, -1)));
}

function specificity(range: string): number {
  return range === "*/*" ? 0 : range.endsWith("/*") ? 1 : 2;
}

function precedes(a: Range, b: Range): boolean {
  if (a.quality !== b.quality) return a.quality > b.quality;
  const difference = specificity(a.range) - specificity(b.range);
  return difference > 0 || (difference === 0 && a.order < b.order);
}
