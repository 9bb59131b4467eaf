// The mirrors of all remote streams, as the database has them: started, changed and stopped with them.
import { type Loop, startLoop } from "../../../base/loop.ts";
import {
  type MirrorStanding,
  type RemoteStream,
  readRemoteStreams,
  reportStanding,
} from "../../../stream/remote/remote-streams.ts";
import { consumerName, takeAwayConsumer } from "./consumer.ts";
import { type Mirror, type MirrorCounters, type MirrorOptions, startMirror } from "./mirror.ts";
import { startRetries } from "./retries.ts";

export type Mirrors = {
  /** Remote streams were put or removed, or dead letters put back: looked at at once here, and within a second elsewhere. */
  wake: () => void;
  /** Stops what mirrors a remote stream that was removed, and takes its consumer out of JetStream where that can be reached. */
  forget: (remote: RemoteStream) => Promise<void>;
  /** Of the remote stream with this id, as it stands now; null where this process has it not in hand. */
  standingOf: (id: number) => MirrorStanding | null;
  /** Of this process. */
  counters: () => MirrorCounters;
  stop: () => Promise<void>;
};

export type MirrorsOptions = Omit<MirrorOptions, "counters" | "onChanged">;

const lookMs = 1_000;

export function startMirrors(options: MirrorsOptions): Mirrors {
  const { nats, pool, context, log } = options;
  const counters: MirrorCounters = { received: 0, redelivered: 0, appended: 0, setAside: 0, dead: 0, sessions: 0 };
  const mirrors = new Map<number, Mirror>();
  const reported = new Map<number, string>();
  /** By name: those that are about to stop. */
  const ending = new Map<string, Promise<void>>();
  let loop: Loop | null = null;

  async function look(): Promise<void> {
    const remotes = await readRemoteStreams(pool);
    const ids = new Set(remotes.map(({ id }) => id));
    for (const [id, mirror] of mirrors) if (!ids.has(id)) void end(id, mirror, mirror.remote);
    for (const remote of remotes) {
      const mirror = mirrors.get(remote.id);
      if (mirror === undefined) {
        // One of its name before it has the lease and the consumer still; its end is a reason to look again.
        if (!ending.has(remote.name)) mirrors.set(remote.id, begin(remote));
      } else if (definitionOf(mirror.remote) !== definitionOf(remote)) mirror.restart(remote);
    }
    await report();
  }

  const begin = (remote: RemoteStream) => startMirror(remote, { ...options, counters, onChanged: () => loop?.wake() });

  function end(id: number, mirror: Mirror, removed: RemoteStream | null): Promise<void> {
    mirrors.delete(id);
    reported.delete(id);
    const { name } = mirror.remote;
    const ended = mirror
      .stop(removed)
      .catch((error: unknown) => log.error({ err: error, remoteStream: name }, "a mirror did not stop"))
      .then(() => {
        ending.delete(name);
        loop?.wake();
      });
    ending.set(name, ended);
    return ended;
  }

  async function report(): Promise<void> {
    const reports = [...mirrors].map(async ([id, mirror]) => {
      const found = mirror.standing();
      const text = JSON.stringify(found);
      if (found === null || reported.get(id) === text) return;
      await reportStanding(pool, found.lease, id, found.standing);
      reported.set(id, text);
    });
    // One that cannot be told keeps no other.
    for (const result of await Promise.allSettled(reports)) if (result.status === "rejected") throw result.reason;
  }

  loop = startLoop("remote-streams", lookMs, look, log);
  const retries = startRetries({ ...options, onDead: () => void counters.dead++ });
  return {
    wake() {
      loop.wake();
      retries.wake();
    },
    async forget(remote) {
      const mirror = mirrors.get(remote.id);
      // It was noticed before this was asked for.
      if (mirror === undefined && ending.has(remote.name)) return ending.get(remote.name);
      const isMine = mirror !== undefined && mirror.standing() !== null;
      const jetstream = remote.cursor?.jetstream ?? remote.former;
      const consumer = consumerName(context.service, remote.name);
      if (nats?.state() === "connected") {
        // Who has it in hand does it at its end; elsewhere that may be nobody.
        if (!isMine && jetstream !== null) await takeAwayConsumer(nats, jetstream, consumer, log);
      } else if (jetstream !== null)
        log.warn({ jetstream, consumer }, "a consumer that nobody needs may be left in JetStream: NATS is away");
      if (mirror !== undefined) await end(remote.id, mirror, remote);
    },
    standingOf: (id) => mirrors.get(id)?.standing()?.standing ?? null,
    counters: () => counters,
    async stop() {
      await Promise.all([loop.stop(), retries.stop()]);
      for (const [id, mirror] of mirrors) void end(id, mirror, null);
      await Promise.all(ending.values());
    },
  };
}

/** What decides how it is mirrored. */
function definitionOf({ source, maxDeliveries, backoffInitialMs, backoffFactor, backoffMaxMs }: RemoteStream): string {
  return JSON.stringify([source, maxDeliveries, backoffInitialMs, backoffFactor, backoffMaxMs]);
}
