// What JetStream holds of each stream is the publisher's log: every event once, in order, with its content, but for what NATS does not take.
import { differences } from "../bridge-content.ts";
import type { BridgedSnapshot, BridgeSnapshot, HeldMessage, PublishedEvent } from "../bridge-snapshot.ts";
import { maxPayloadBytes } from "../bridged.ts";

/** The events that JetStream is to have had. */
export function dueOf({ log }: Pick<BridgedSnapshot, "log">): PublishedEvent[] {
  return log.filter(({ bytes }) => bytes <= maxPayloadBytes);
}

/** The messages of the publisher's own. */
export const oursOf = ({ held }: BridgedSnapshot): HeldMessage[] => held.filter(({ offset }) => offset !== null);

export function jetstreamIsTheLog({ logId, streams }: BridgeSnapshot): string[] {
  return streams.flatMap((stream) => {
    const { stream: name, maxEvents, log } = stream;
    const due = dueOf(stream);
    // What it keeps are the last ones.
    const expected = new Map(due.slice(maxEvents === null ? 0 : -maxEvents).map((event) => [event.offset, event]));
    const violations: string[] = [];
    const seen = new Set<number>();
    let before = -1;
    for (const { sequence, offset, logId: of, content } of oursOf(stream)) {
      const what = `${name} ${offset}, in JetStream at ${sequence},`;
      const event = expected.get(Number(offset));
      if (of !== logId) violations.push(`${what} is of the log ${of}`);
      else if (seen.has(Number(offset))) violations.push(`${what} is there a second time`);
      else if (event === undefined)
        violations.push(
          `${what} is ${log.some((one) => one.offset === offset) ? "not to be there" : "not in the log"}`,
        );
      else {
        if (Number(offset) < before) violations.push(`${what} stands behind ${before}`);
        const different = content === null ? ["everything"] : differences(content, event.content);
        if (different.length > 0) violations.push(`${what} differs from the log in ${different.join(", ")}`);
      }
      seen.add(Number(offset));
      before = Math.max(before, Number(offset));
    }
    for (const offset of expected.keys())
      if (!seen.has(offset)) violations.push(`${name} ${offset} is not in JetStream`);
    return violations;
  });
}

export function withheldAreTheLarge({ streams }: BridgeSnapshot): string[] {
  return streams.flatMap(({ stream, log, withheld }) => {
    const large = new Map(log.filter(({ bytes }) => bytes > maxPayloadBytes).map((event) => [event.offset, event]));
    const violations: string[] = [];
    for (const { offset, id, reason } of withheld) {
      if (large.get(offset)?.id !== id) violations.push(`${stream} ${offset} is withheld as ${id}, and NATS takes it`);
      if (reason === "") violations.push(`${stream} ${offset} is withheld without a reason`);
      large.delete(offset);
    }
    for (const offset of large.keys())
      violations.push(`${stream} ${offset} is too large, and is not listed as withheld`);
    return violations;
  });
}
