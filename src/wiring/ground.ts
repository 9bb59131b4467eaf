// What every part of the service stands on.
import type { Log } from "../base/log.ts";
import type { Config } from "../config.ts";
import type { Database } from "../storage/database.ts";

export type Ground = {
  config: Config;
  database: Database;
  /** Enters how a part is stopped: what was entered last is stopped first, also when a later part does not start. */
  onStop: (stop: () => Promise<void> | void) => void;
  /** Where the service listens; empty until it does. */
  servedAt: () => string;
  log: Log;
};
