// The live connections of this process: opens them, keeps them equal to what is stored, and closes them when it drains.
import type { Log } from "../../base/log.ts";
import { type Loop, startLoop } from "../../base/loop.ts";
import type { Principal } from "../../base/principal.ts";
import { isOutage } from "../../storage/pg-errors.ts";
import { createLiveConnection, type LiveConnection, type LiveConnectionOptions } from "./connection.ts";
import type { LiveMemberships, LiveNote } from "./membership.ts";

export type LiveHub = {
  /** Opens a connection, in place of an older one of the id. `position`: of its last event id, null if it brings none. Throws `forbidden`. */
  open: (request: {
    id: string;
    principal: Principal;
    position: number | null;
    head: number;
    logId: string;
    signal: AbortSignal;
  }) => Promise<ReadableStream<Uint8Array>>;
  /** What flows on these has changed, here or elsewhere; null: on any. */
  reload: (ids: readonly string[] | null) => void;
  counts: () => { connections: number; opened: number };
  stop: () => Promise<void>;
};

export type LiveHubOptions = Pick<
  LiveConnectionOptions,
  "followers" | "feeds" | "schemas" | "locate" | "head" | "bufferBytes"
> & {
  memberships: LiveMemberships;
  heartbeatMs: number;
  retryMs: number;
  /** Tells the other processes that a connection has changed. */
  announce: (id: string) => void;
  /** A connection that nobody has read for so long is forgotten. */
  forgottenMs: number;
  log: Log;
};

const noteMs = 5_000;
const retryReloadMs = 500;
const retryFailedReloadMs = 5_000;

export function createLiveHub(options: LiveHubOptions): LiveHub {
  const { memberships, log } = options;
  const connections = new Map<string, LiveConnection>();
  const closing = new Set<Promise<unknown>>();
  const reloading = new Map<string, { again: boolean }>();
  const retrying = new Set<string>();
  let opened = 0;
  let stopped = false;

  const heartbeat = setInterval(() => {
    for (const connection of connections.values()) connection.heartbeat();
  }, options.heartbeatMs);

  const notes: Loop = startLoop(
    "live connections",
    noteMs,
    async () => {
      await note([...connections.values()]);
      await memberships.forget(options.forgottenMs);
    },
    log,
  );

  async function note(of: readonly LiveConnection[]): Promise<void> {
    const notes = of.map((connection) => connection.note());
    await memberships.note(notes);
    for (const [at, connection] of of.entries()) connection.noted(notes[at] as LiveNote);
  }

  function retry(id: string, afterMs: number): void {
    if (stopped || retrying.has(id)) return;
    retrying.add(id);
    const timer = setTimeout(() => {
      retrying.delete(id);
      void reload(id);
    }, afterMs);
    timer.unref();
  }

  /** One after the other for each connection, so that the last state wins. */
  async function reload(id: string): Promise<void> {
    const running = reloading.get(id);
    if (running !== undefined) {
      running.again = true;
      return;
    }
    const state = { again: true };
    reloading.set(id, state);
    while (state.again) {
      state.again = false;
      const connection = connections.get(id);
      if (connection === undefined) break;
      try {
        const membership = await memberships.read(id);
        if (membership === null) connection.end("removed", true);
        else if (membership.epoch !== connection.epoch) connection.end("replaced", true);
        else {
          await connection.apply(membership);
          // A stream that goes by the id from now on shall do so after a reconnect in the next moment, too.
          if (connection.note().catchUps.length > 0) await note([connection]);
        }
      } catch (error) {
        log.warn({ err: error, live: id }, "a live connection could not be changed");
        // Until then the connection's position stands still.
        retry(id, isOutage(error) ? retryReloadMs : retryFailedReloadMs);
      }
    }
    reloading.delete(id);
  }

  return {
    async open({ id, principal, position, head, logId, signal }) {
      const membership = await memberships.connect(id, principal.name, head);
      const present = connections.get(id);
      // The answer to a later connect may have come first.
      const isReplaced = present !== undefined && present.epoch > membership.epoch;
      if (!isReplaced) present?.end("replaced", true);
      options.announce(id);
      opened++;
      const connection = createLiveConnection({
        ...options,
        id,
        epoch: membership.epoch,
        principal,
        position: position ?? membership.position,
        onClose(last) {
          if (connections.get(id) === connection) connections.delete(id);
          const done = Promise.all([connection.done(), memberships.note([last]).catch(() => {})]);
          closing.add(done);
          void done.finally(() => closing.delete(done));
        },
      });
      if (!isReplaced) connections.set(id, connection);
      // Jitter, so that the readers of a restarted service do not all come in the same moment.
      connection.begin(options.retryMs * (0.5 + Math.random()), logId);
      if (isReplaced) {
        connection.end("replaced", true);
        return connection.body;
      }
      if (signal.aborted) connection.leave();
      else signal.addEventListener("abort", () => connection.leave(), { once: true });
      if (stopped) connection.end("shutting-down", false);
      await reload(id);
      return connection.body;
    },
    reload(ids) {
      for (const id of ids ?? connections.keys()) if (connections.has(id)) void reload(id);
    },
    counts: () => ({ connections: connections.size, opened }),
    async stop() {
      stopped = true;
      clearInterval(heartbeat);
      await notes.stop();
      for (const connection of [...connections.values()]) connection.end("shutting-down", false);
      await Promise.all(closing);
    },
  };
}
