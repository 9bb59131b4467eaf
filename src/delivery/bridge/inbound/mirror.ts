// The mirror of one remote stream: runs while this process is connected and holds its lease, session after session.
import type { Log } from "../../../base/log.ts";
import { pause } from "../../../base/pause.ts";
import type { HeldLease, Leases } from "../../../storage/lease.ts";
import {
  type MirrorStanding,
  type MirrorState,
  mirrorLease,
  type RemoteStream,
} from "../../../stream/remote/remote-streams.ts";
import { createBackoff } from "../backoff.ts";
import type { Nats } from "../jetstream.ts";
import { askedUntil } from "../questions.ts";
import { toldOf } from "../refusals.ts";
import { consumerName, takeAwayConsumer } from "./consumer.ts";
import { runSession, type SessionOptions } from "./session.ts";
import type { Stored } from "./storing.ts";

/** Of all mirrors of this process. */
export type MirrorCounters = {
  received: number;
  redelivered: number;
  appended: number;
  setAside: number;
  dead: number;
  sessions: number;
};

export type MirrorOptions = Omit<SessionOptions, "nats"> & {
  /** Null without a connection by configuration. */
  nats: Nats | null;
  leases: Pick<Leases, "want">;
  counters: MirrorCounters;
  /** It has something to tell. */
  onChanged: () => void;
  log: Log;
};

export type Mirror = {
  remote: RemoteStream;
  /** Null while this process has it not in hand. */
  standing: () => { lease: HeldLease; standing: MirrorStanding } | null;
  /** Begins anew, with the definition as it is now. */
  restart: (remote: RemoteStream) => void;
  /** `removed`: the remote stream as it was when nobody goes on, so that the consumer goes too; else null. */
  stop: (removed: RemoteStream | null) => Promise<void>;
};

const logAgainMs = 60_000;

export function startMirror(first: RemoteStream, options: MirrorOptions): Mirror {
  const { nats, leases, counters, onChanged, log } = options;
  let remote = first;
  let standing: MirrorStanding | null = null;
  let held: HeldLease | null = null;
  let session = new AbortController();
  /** Batches that were stored: what shows that it goes on. */
  let moves = 0;
  let running: Promise<void> = Promise.resolve();
  /** One that begins and ends again and again for one reason says so in the log now and then. */
  let logged: { reason: string; atMs: number } | null = null;
  /** Who cannot reach NATS leaves it to the others. */
  let giveUp: (() => Promise<void>) | null = null;
  let changing: Promise<void> = Promise.resolve();
  const consumer = consumerName(options.context.service, first.name);
  /** Where this process has made a consumer last. */
  let jetstream: string | null = null;
  const ending = new AbortController();
  let stopped = false;

  function enter(state: MirrorState): void {
    if (standing === null || standing.state === state) return;
    standing.state = state;
    onChanged();
  }

  function tell(error: string): void {
    if (standing === null) return;
    standing.lastError = error;
    standing.lastErrorAt = new Date().toISOString();
  }

  function failed(error: unknown): void {
    if (standing === null) return;
    const reason = error instanceof Error ? error.message : String(error);
    tell(reason);
    const nowMs = performance.now();
    if (logged?.reason !== reason || nowMs - logged.atMs > logAgainMs) {
      logged = { reason, atMs: nowMs };
      log.warn({ remoteStream: remote.name, ...toldOf(error) }, "a remote stream is not mirrored for now");
    }
    enter("failing");
  }

  function waitFor({ why, isLost }: { why: string; isLost: boolean }): void {
    if (standing === null) return;
    if (standing.lastError !== why || standing.state !== "waiting") {
      tell(why);
      const line = { remoteStream: remote.name, why };
      if (isLost) log.warn(line, "a remote stream that was mirrored is not there any more: it is waited for");
      else log.info(line, "a remote stream is waited for");
    }
    enter("waiting");
  }

  async function run(nats: Nats, lease: HeldLease, signal: AbortSignal): Promise<void> {
    const backoff = createBackoff({ initialMs: 100, maxMs: 5_000 });
    const current: MirrorStanding = {
      state: "starting",
      pending: null,
      behindSinceMs: null,
      received: 0,
      redelivered: 0,
      lastError: null,
      lastErrorAt: null,
    };
    standing = current;
    held = lease;
    signal.addEventListener("abort", () => {
      standing = null;
      held = null;
    });
    onChanged();
    while (!signal.aborted) {
      if (nats.state() !== "connected") {
        // Short: it comes back, or the lease is given up.
        await connection(nats, signal);
        continue;
      }
      session = new AbortController();
      const either = AbortSignal.any([signal, session.signal]);
      const before = moves;
      try {
        counters.sessions++;
        const asked = { ...options, nats: askedUntil(nats, either) };
        const end = await runSession(asked, remote.id, consumer, listener(current), either);
        if (end.kind === "removed") return;
        if (end.kind === "waiting") waitFor(end);
        else if (end.kind === "refused") failed(end.why);
        else if (!either.aborted) {
          log.info({ remoteStream: remote.name, why: end.why }, "a remote stream is looked at anew");
          if (nats.state() !== "connected") continue;
          // Not allowed to, or taken away from it each time: that it begins again and again is no mirroring.
          if (moves === before) failed(end.why);
        }
      } catch (error) {
        if (!either.aborted && nats.state() === "connected") failed(error);
      }
      if (current.state !== "mirroring") {
        // Nothing is delivered, so nobody counts.
        current.pending = null;
        current.behindSinceMs = null;
      }
      if (moves > before) backoff.reset();
      if (!session.signal.aborted) await pause(backoff.nextMs(), either);
    }
  }

  function listener(current: MirrorStanding) {
    return {
      onConsumer(name: string) {
        jetstream = name;
      },
      onBegun({ pending }: { pending: number }) {
        current.pending = pending;
        current.behindSinceMs = null;
        enter("mirroring");
      },
      onReceived(isRepeated: boolean) {
        current.received++;
        counters.received++;
        if (!isRepeated) return;
        current.redelivered++;
        counters.redelivered++;
      },
      onStored({ events, setAside }: Stored) {
        moves++;
        counters.appended += events;
        counters.setAside += setAside.length;
        const dead = setAside.filter(({ retryMs }) => retryMs === null);
        counters.dead += dead.length;
        const [one] = dead;
        if (one !== undefined) {
          const { sequence, subject, reason, detail } = one;
          const line = { remoteStream: remote.name, messages: dead.length, sequence, subject, reason, detail };
          log.warn(line, "messages were given up: this is the first of them");
        }
        enter("mirroring");
      },
      onPending(pending: number, sinceMs: number | null) {
        current.pending = pending;
        current.behindSinceMs = sinceMs;
      },
      onFailure: failed,
    };
  }

  const want = (nats: Nats) =>
    leases.want(mirrorLease(first.name), {
      onGained(lease, signal) {
        log.info({ remoteStream: remote.name, epoch: lease.epoch }, "this process mirrors the remote stream");
        // What was under way when the lease was lost comes to its end first.
        const either = AbortSignal.any([signal, ending.signal]);
        running = running.then(() => (either.aborted ? undefined : run(nats, lease, either)));
      },
    });

  function follow(): void {
    changing = changing.then(async () => {
      if (nats !== null && nats.state() === "connected" && !stopped) {
        giveUp ??= want(nats);
      } else if (giveUp !== null) {
        const mine = giveUp;
        giveUp = null;
        await mine();
        await running;
      }
    });
  }
  const forget = nats?.onState(follow);
  follow();

  return {
    get remote() {
      return remote;
    },
    standing: () => (standing === null || held === null ? null : { lease: held, standing }),
    restart(changed) {
      if (standing !== null && JSON.stringify(changed.source) !== JSON.stringify(remote.source))
        Object.assign(standing, { state: "starting", received: 0, redelivered: 0, lastError: null, lastErrorAt: null });
      remote = changed;
      session.abort(new Error("the remote stream was put anew"));
    },
    async stop(removed) {
      stopped = true;
      forget?.();
      const isMine = held !== null;
      ending.abort(new Error("the mirror stops"));
      await running;
      // Before the lease goes: the same name may be put anew.
      const place = jetstream ?? removed?.cursor?.jetstream ?? removed?.former ?? null;
      if (removed !== null && isMine && place !== null && nats?.state() === "connected")
        await takeAwayConsumer(nats, place, consumer, log);
      follow();
      await changing;
    },
  };
}

/** Resolves when the connection may stand again, or the signal fires. */
function connection(nats: Nats, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      forget();
      signal.removeEventListener("abort", done);
      resolve();
    };
    const forget = nats.onState((state) => state === "connected" && done());
    signal.addEventListener("abort", done, { once: true });
    if (nats.state() === "connected" || signal.aborted) done();
  });
}
