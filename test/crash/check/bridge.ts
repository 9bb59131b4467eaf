// All checks over a run of the bridge: the log, JetStream and the mirror hold the same events, each once.
import type { BridgeSnapshot } from "../bridge-snapshot.ts";
import type { Alarm, AppendAnswered, Entry, Fault } from "../history.ts";
import { acknowledgedArePresent, nothingTwiceOrTorn, refusedAreAbsent, repetitionsAgree } from "./appends.ts";
import { connectionsAreNeeded, consumersAreTheMirrors } from "./bridge-connections.ts";
import { mirrorsAreWhole, mirrorsKeepOrder } from "./bridge-mirrored.ts";
import { jetstreamIsTheLog, withheldAreTheLarge } from "./bridge-published.ts";
import { strangersAreThereOnce } from "./bridge-strangers.ts";

/** The violations, each with what it breaks; empty when all holds and the run has proved something. */
export function checkBridge(history: readonly Entry[], snapshot: BridgeSnapshot): string[] {
  const numbered = (about: string, found: string[]) => found.map((what) => `[${about}] ${what}`);
  const log = snapshot.streams.flatMap((stream) => stream.log);
  return [
    ...numbered(
      "alarm",
      history.filter((entry): entry is Alarm => entry.kind === "alarm").map(({ at, what }) => `${what} (at ${at} ms)`),
    ),
    ...numbered("2", snapshot.defects),
    ...numbered("1", acknowledgedArePresent(history, log)),
    ...numbered("1", refusedAreAbsent(history, log)),
    ...numbered("1", nothingTwiceOrTorn(history, log)),
    ...numbered("1", repetitionsAgree(history)),
    ...numbered("JetStream", jetstreamIsTheLog(snapshot)),
    ...numbered("JetStream", withheldAreTheLarge(snapshot)),
    ...numbered("mirror", mirrorsAreWhole(snapshot)),
    ...numbered("mirror", mirrorsKeepOrder(snapshot)),
    ...numbered("mirror", strangersAreThereOnce(history, snapshot)),
    ...numbered("12", connectionsAreNeeded(snapshot)),
    ...numbered("12", consumersAreTheMirrors(snapshot)),
    ...numbered("nothing was proved", bridgeWasTried(history, snapshot)),
  ];
}

/** A run in which something never happened has proved nothing about it. */
export function bridgeWasTried(history: readonly Entry[], { streams }: BridgeSnapshot): string[] {
  const facts: Record<string, boolean> = {
    "a fault": history.some((entry) => entry.kind === "fault" && !isSkew(entry)),
    "an append that was acknowledged while NATS was away": acknowledgedWhileAway(history) > 0,
    "an event that NATS does not take": streams.some(({ withheld }) => withheld.length > 0),
    "an event that became a dead letter": streams.some(({ letters }) => letters.some(({ offset }) => offset !== null)),
    "a message of a stranger that was mirrored": streams.some(({ mirrored }) =>
      mirrored.some(({ origin }) => origin === null),
    ),
    "a bounded JetStream stream that was full": streams.some(
      ({ maxEvents, held }) => maxEvents !== null && held.length === maxEvents,
    ),
  };
  return Object.entries(facts).flatMap(([what, isSo]) => (isSo ? [] : [`the run has not seen ${what}`]));
}

const isSkew = ({ what }: Fault) => what.startsWith("skew-clock");

/** Appends that began and were acknowledged while nobody could reach NATS. */
export function acknowledgedWhileAway(history: readonly Entry[]): number {
  const invokedAt = new Map<number, number>();
  let awaySince: number | null = null;
  let count = 0;
  // Entries stand in the order in which they happened.
  for (const entry of history) {
    if (entry.kind === "nats-away") awaySince = entry.isAway ? entry.at : null;
    else if (entry.kind === "invoked") invokedAt.set(entry.op, entry.at);
    else if (entry.kind === "answered" && isAcknowledged(entry) && awaySince !== null)
      if ((invokedAt.get(entry.op) ?? 0) > awaySince) count++;
  }
  return count;
}

const isAcknowledged = ({ outcome }: AppendAnswered) => outcome === "acknowledged";
