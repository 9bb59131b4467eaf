// Invariant 12 around NATS: at the end each process has one connection, with no more subscriptions than streams need, and each mirror one consumer.
import type { BridgeSnapshot } from "../bridge-snapshot.ts";
import { bridgedStreams, mirroring, publishing } from "../bridged.ts";

/** One for each stream, and one for answers. */
const subscriptionsNeeded = bridgedStreams.length + 1;

export function connectionsAreNeeded({ processes, connections }: BridgeSnapshot): string[] {
  return [publishing, mirroring].flatMap((service) => {
    const own = connections.filter(({ name }) => name === service);
    const violations = own
      .filter(({ subscriptions }) => subscriptions > subscriptionsNeeded)
      .map(({ subscriptions }) => `a connection of ${service} to NATS has ${subscriptions} subscriptions`);
    if (own.length !== processes)
      violations.push(`the ${processes} processes of ${service} have ${own.length} connections to NATS`);
    return violations;
  });
}

export function consumersAreTheMirrors({ streams }: BridgeSnapshot): string[] {
  return streams.flatMap(({ jetstream, mirror, consumers }) => {
    const own = `${mirroring}_${mirror.replaceAll(".", "_")}`;
    return consumers.length === 1 && consumers[0] === own
      ? []
      : [`${jetstream} has the consumers ${consumers.join(", ") || "of nobody"}, not ${own}`];
  });
}
