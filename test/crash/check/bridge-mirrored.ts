// A mirror has each event of its source once, or a dead letter of it, in the order of the source and with its content.
import { differences } from "../bridge-content.ts";
import type {
  BridgedSnapshot,
  BridgeSnapshot,
  MirroredEvent,
  MirrorLetter,
  PublishedEvent,
} from "../bridge-snapshot.ts";
import { greatestN, lateType, tries } from "../bridged.ts";
import { dueOf, oursOf } from "./bridge-published.ts";

export function mirrorsAreWhole({ logId, streams }: BridgeSnapshot): string[] {
  return streams.flatMap((stream) => {
    const violations: string[] = [];
    const due = dueOf(stream);
    const known = new Set(due.map(({ offset }) => offset));
    const events = Map.groupBy(ofTheLog(stream), ({ origin }) => origin.offset);
    const letters = Map.groupBy(stream.letters, ({ offset }) => offset);
    for (const { offset, origin } of ofTheLog(stream)) {
      const what = `${stream.mirror} ${offset} (${origin.stream} ${origin.offset})`;
      if (origin.logId !== logId) violations.push(`${what} is of the log ${origin.logId}`);
      else if (origin.stream !== stream.stream) violations.push(`${what} is of another stream`);
      else if (!known.has(origin.offset)) violations.push(`${what} was never to be published`);
    }
    for (const offset of letters.keys())
      if (offset !== null && !known.has(offset))
        violations.push(`${stream.mirror} has a dead letter of ${stream.stream} ${offset}, which was never published`);
    // What a bounded JetStream stream has forgotten may never have been seen.
    const kept = stream.maxEvents === null ? -1 : (oursOf(stream)[0]?.offset ?? Number.POSITIVE_INFINITY);
    for (const event of due)
      violations.push(
        ...becameOf(
          stream,
          event,
          events.get(event.offset) ?? [],
          letters.get(event.offset) ?? [],
          event.offset < kept,
        ),
      );
    return violations;
  });
}

function becameOf(
  { stream, mirror, isStrict }: BridgedSnapshot,
  event: PublishedEvent,
  copies: readonly MirroredEvent[],
  letters: readonly MirrorLetter[],
  mayBeMissing: boolean,
): string[] {
  const what = `${stream} ${event.offset} (${event.id})`;
  const isPoison = isStrict && event.n > greatestN;
  const [copy, letter] = [copies[0], letters[0]];
  if (copy === undefined && letter === undefined)
    return mayBeMissing ? [] : [`${what} is neither in ${mirror} nor a dead letter of it`];
  if (copies.length + letters.length > 1)
    return [`${what} is in ${mirror} ${copies.length} times, and ${letters.length} times a dead letter of it`];
  if (isPoison && letter === undefined) return [`${what} does not match the schema, and is in ${mirror}`];
  if (!isPoison && letter !== undefined)
    return [
      `${what} is a dead letter of ${mirror} without need: ${letter.reason} after ${letter.attempts} tries (${letter.detail})`,
    ];
  const different = differences((copy ?? letter)?.content ?? {}, event.content);
  const violations = different.length > 0 ? [`${what} differs in ${mirror} in ${different.join(", ")}`] : [];
  if (letter !== undefined && (letter.reason !== "schema-mismatch" || letter.attempts !== tries))
    violations.push(`${what} was given up by ${mirror} after ${letter.attempts} tries, with ${letter.reason}`);
  return violations;
}

/** Events stand in the order of the source; one that was tried again comes behind those that it was before, never sooner. */
export function mirrorsKeepOrder({ streams }: BridgeSnapshot): string[] {
  return streams.flatMap((stream) => {
    const violations: string[] = [];
    // From the end on: the first event behind each that was not tried again.
    let behind: OfTheLog | null = null;
    for (const event of ofTheLog(stream).reverse()) {
      if (behind !== null && behind.origin.offset < event.origin.offset)
        violations.push(
          `${stream.mirror} ${behind.offset} is ${stream.stream} ${behind.origin.offset}, behind ${event.origin.offset}`,
        );
      if (event.content.type !== lateType) behind = event;
    }
    return violations;
  });
}

type OfTheLog = MirroredEvent & { origin: NonNullable<MirroredEvent["origin"]> };

const ofTheLog = ({ mirrored }: BridgedSnapshot): OfTheLog[] =>
  mirrored.filter((event): event is OfTheLog => event.origin !== null);
