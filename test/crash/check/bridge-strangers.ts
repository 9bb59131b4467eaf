// Messages of strangers are mirrored once, in the order in which they were published, or dead letters; none is made up.
import type { StrangerPublished } from "../bridge-history.ts";
import type { BridgeSnapshot, MirroredEvent } from "../bridge-snapshot.ts";
import type { Entry } from "../history.ts";
import { strangeSource, strangeType } from "../strangers.ts";

export const strangersOf = (history: readonly Entry[]): StrangerPublished[] =>
  history.filter((entry): entry is StrangerPublished => entry.kind === "stranger-published");

const markIn = (text: string | undefined): string | null => /"mark":"([^"]+)"/.exec(text ?? "")?.[1] ?? null;

export function strangersAreThereOnce(history: readonly Entry[], { streams }: BridgeSnapshot): string[] {
  const published = strangersOf(history);
  return streams.flatMap((stream) => {
    const violations: string[] = [];
    const known = new Map(published.filter((one) => one.stream === stream.stream).map((one) => [one.mark, one]));
    const events = stream.mirrored.filter(({ origin }) => origin === null);
    const copies = Map.groupBy(events, ({ content }) => markIn(content.data));
    const letters = Map.groupBy(
      stream.letters.filter(({ offset }) => offset === null),
      ({ payload }) => markIn(payload),
    );
    const held = new Set(stream.held.filter(({ offset }) => offset === null).map(({ text }) => markIn(text)));
    for (const mark of [...copies.keys(), ...letters.keys()])
      if (!known.has(mark ?? "")) violations.push(`${stream.mirror} has a message ${mark} that nobody published`);
    let before: { mark: string; offset: number } | null = null;
    for (const [mark, message] of known) {
      const copy = copies.get(mark) ?? [];
      const reasons = (letters.get(mark) ?? []).map(({ reason }) => reason);
      violations.push(...becameOf(message, copy, reasons, held.has(mark)).map((what) => `${stream.mirror}: ${what}`));
      const offset = copy[0]?.offset;
      if (offset === undefined) continue;
      if (before !== null && offset < before.offset)
        violations.push(`${stream.mirror} has ${mark} at ${offset}, before ${before.mark}`);
      before = { mark, offset };
    }
    return violations;
  });
}

/** One that JetStream lost before it was mirrored is rightly nowhere; one that was sent again after that may be there twice in it. */
function becameOf(
  { mark, form, attempts }: StrangerPublished,
  copies: readonly MirroredEvent[],
  reasons: readonly string[],
  isHeld: boolean,
): string[] {
  const isPoison = form === "poison";
  const violations: string[] = [];
  if (copies.length > (isPoison ? 0 : 1)) violations.push(`${mark} (${form}) is there ${copies.length} times`);
  if (isHeld && copies.length + reasons.length === 0) violations.push(`${mark} is neither an event nor a dead letter`);
  if (reasons.length > (isPoison ? attempts : attempts - 1))
    violations.push(`${mark}, published ${attempts} times, has ${reasons.length} dead letters: ${reasons.join(", ")}`);
  const expected = isPoison ? "malformed-body" : "event-id-conflict";
  for (const reason of reasons) if (reason !== expected) violations.push(`${mark} is a dead letter with ${reason}`);
  const { id, type, source } = copies[0]?.content ?? {};
  if (copies.length > 0) {
    const isItself = form === "plain" ? source?.startsWith("nats:") : source === strangeSource;
    if (id !== mark || type !== strangeType || isItself !== true)
      violations.push(`${mark} is there as ${id}, a ${type} of ${source}`);
  }
  return violations;
}
