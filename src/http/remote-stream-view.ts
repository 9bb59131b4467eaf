// A remote stream as the API shows it, by whichever process is asked.
import { consumerName } from "../delivery/bridge/inbound/consumer.ts";
import type { NatsState } from "../delivery/bridge/jetstream.ts";
import { describeRemoteDefinition } from "../stream/remote/definition.ts";
import {
  lettersCountedTo,
  type MirrorStanding,
  mirrorLagSeconds,
  type RemoteStanding,
} from "../stream/remote/remote-streams.ts";

export type RemoteStreamViewOptions = {
  /** Name of this service. */
  service: string;
  /** Of this process; null without NATS_URL. */
  natsState: () => NatsState | null;
  /** Of a mirror that this process has in hand: newer than what it has told the others; null of any other. */
  standingOf: (id: number) => MirrorStanding | null;
};

export type RemoteStreamView = ReturnType<typeof createRemoteStreamView>;

export function createRemoteStreamView({ service, natsState, standingOf }: RemoteStreamViewOptions) {
  /** Of a mirror that no process has in hand: why this one has not. */
  function idleState(): "no-nats" | "disconnected" | "starting" {
    const connection = natsState();
    if (connection === null) return "no-nats";
    return connection === "connected" ? "starting" : "disconnected";
  }

  return (remote: RemoteStanding) => {
    const { name, createdAt, cursor, isInHand, retrying, deadLetters } = remote;
    const standing = standingOf(remote.id) ?? remote.standing;
    return {
      name,
      ...describeRemoteDefinition(remote),
      createdAt,
      /** In JetStream, where a mirror is allowed what it needs by this name. */
      consumer: consumerName(service, name),
      state: isInHand ? (standing?.state ?? "starting") : idleState(),
      /** Of JetStream: how far it is mirrored. */
      mirrored: cursor === null ? null : { jetstream: cursor.jetstream, sequence: String(cursor.sequence) },
      pending: standing?.pending == null ? null : String(standing.pending),
      lagSeconds: mirrorLagSeconds(standing),
      redelivered: String(standing?.redelivered ?? 0),
      retrying: counted(retrying),
      deadLetters: counted(deadLetters),
      lastError: standing?.lastError == null ? null : { message: standing.lastError, at: standing.lastErrorAt },
    };
  };
}

const counted = (count: number) => ({ count: String(count), atLeast: count >= lettersCountedTo });
