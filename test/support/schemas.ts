// A registry without schemas, for the parts that are tested without one.
import type { SchemaLinks } from "../../src/stream/event.ts";
import type { LogReader } from "../../src/stream/range.ts";
import type { ReplayDependencies } from "../../src/stream/replay.ts";
import type { Registry } from "../../src/stream/schema/registry.ts";
import type { Upcasting } from "../../src/stream/schema/upcasting.ts";
import type { Validation } from "../../src/stream/schema/validation.ts";

export const noSchemas: SchemaLinks = { revision: () => 0, linkOf: () => null };

export const noRegistry: Pick<Registry, "latest" | "refresh"> = { latest: () => 0, refresh: async () => {} };

export const noUpcasting: Pick<Upcasting, "show" | "showShared" | "attempt" | "mark" | "isShownAsStored"> = {
  show: (events) => events,
  showShared: (events) => events,
  attempt: (events) => events,
  mark: (event) => event,
  isShownAsStored: () => true,
};

export const noValidation: Pick<Validation, "modeOf" | "correct" | "check"> = {
  modeOf: () => 0,
  correct() {},
  check: (_stream, mode) => Promise.resolve({ mode, mismatch: null }),
};

/** What a replay reads from, without a registry. */
export const unversioned = (reader: LogReader): ReplayDependencies => ({
  reader,
  upcasting: noUpcasting,
  schemas: noSchemas,
});
