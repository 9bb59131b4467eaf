// What this process knows of the schema registry: which versions of types there are and how to get from one to the next.
import type { Log } from "../../base/log.ts";
import { type Loop, startLoop } from "../../base/loop.ts";
import type { Pool } from "../../storage/pool.ts";
import { type IndexedVersion, readChanges } from "./registry-tables.ts";

/** A type as it was at one revision: another object when anything of it has changed. */
export type TypeEntry = { type: string; versions: readonly IndexedVersion[] };

export type Registry = {
  start: () => Promise<void>;
  stop: () => Promise<void>;
  /** Another number with every change that this process has heard of. */
  revision: () => number;
  /** Undefined where the type has no versions. */
  entry: (type: string) => TypeEntry | undefined;
  /** The newest version of a type; 0 when there is none. */
  latest: (type: string) => number;
  /** Where the schema of a version is served, as a JSON string; null where there is none. */
  linkOf: (type: string, version: number) => string | null;
  /** Reads what has changed; what was changed before the call is known after it. */
  refresh: () => Promise<void>;
  /** Something has changed elsewhere. */
  wake: () => void;
};

export type RegistryOptions = {
  pool: Pool;
  /** The URL under which the service is reached, without a slash at its end; asked when it is needed first. */
  publicUrl: () => string;
  log: Log;
};

/** A wake-up that was lost costs no longer than this. */
const lookMs = 5_000;

export function createRegistry({ pool, publicUrl, log }: RegistryOptions): Registry {
  const types = new Map<string, TypeEntry>();
  let revision = 0;
  let loop: Loop | null = null;
  let reading: Promise<void> | null = null;
  let next: Promise<void> | null = null;

  async function read(): Promise<void> {
    const changes = await pool.run((sql) => readChanges(sql, revision));
    for (const [type, versions] of changes.types) {
      if (versions.length === 0) types.delete(type);
      else types.set(type, { type, versions });
    }
    revision = changes.revision;
  }

  function refresh(): Promise<void> {
    // What is under way may have begun before the change: the one after it has not.
    if (reading === null) {
      reading = read().finally(() => {
        reading = null;
      });
      return reading;
    }
    next ??= reading
      .catch(() => {})
      .then(() => {
        next = null;
        return refresh();
      });
    return next;
  }

  return {
    async start() {
      await refresh();
      loop = startLoop("schema registry", lookMs, refresh, log);
    },
    async stop() {
      await loop?.stop();
    },
    revision: () => revision,
    entry: (type) => types.get(type),
    latest: (type) => types.get(type)?.versions.length ?? 0,
    linkOf(type, version) {
      if (types.size === 0) return null;
      const entry = types.get(type);
      if (entry === undefined || version > entry.versions.length) return null;
      return JSON.stringify(`${publicUrl()}/api/schemas/${encodeURIComponent(type)}/versions/${version}`);
    },
    refresh,
    wake: () => loop?.wake(),
  };
}
