// Chooses the media type of an answer (RFC 9110, section 12.5.1).
import { Problem } from "../base/errors.ts";

/**
 * The offered type that the `Accept` header prefers; the first offer when the header is missing or open to all.
 * Throws `not-acceptable`.
 */
export function negotiate<Type extends string>(accept: string | null, offers: readonly [Type, ...Type[]]): Type {
  if (accept === null || accept.trim() === "" || accept === "*/*") return offers[0];
  let best: { offer: Type; quality: number; specificity: number } | null = null;
  for (const part of accept.split(",")) {
    const [range = "", ...parameters] = part.split(";").map((s) => s.trim().toLowerCase());
    const given = parameters.find((p) => p.startsWith("q="));
    const quality = given === undefined ? 1 : Number(given.slice(2));
    if (!(quality > 0)) continue;
    const offer = offers.find(
      (o) => range === o || range === "*/*" || (range.endsWith("/*") && o.startsWith(range.slice(0, -1))),
    );
    if (offer === undefined) continue;
    const specificity = range === offer ? 2 : range === "*/*" ? 0 : 1;
    if (best === null || quality > best.quality || (quality === best.quality && specificity > best.specificity)) {
      best = { offer, quality, specificity };
    }
  }
  if (best === null) {
    throw new Problem("not-acceptable", `The resource can be had as ${offers.join(", ")}`, { offers });
  }
  return best.offer;
}
