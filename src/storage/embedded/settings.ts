// The settings that the embedded Postgres runs with, as arguments of its command line.
import { totalmem } from "node:os";

/** What the settings depend on. */
export interface ServerSettings {
  clusterName: string;
  socketDir: string;
  port: number;
  /** Also listen on 127.0.0.1. */
  tcp: boolean;
  /** False: a crash of the machine (not of a process) may destroy the data. */
  fsync: boolean;
  /** Keep the log of changes small, for a folder that is thrown away. */
  throwAway: boolean;
  maxConnections: number;
}

/** Returns the arguments that follow `-D <folder>`; equal settings give equal arguments. */
export function settingArguments(settings: ServerSettings): string[] {
  const values = {
    cluster_name: settings.clusterName,
    listen_addresses: settings.tcp ? "127.0.0.1" : "",
    port: settings.port,
    unix_socket_directories: settings.socketDir,
    unix_socket_permissions: "0700",
    max_connections: settings.maxConnections,
    // The log is written once and read mostly at its end: more memory is better left to the system's cache.
    shared_buffers: totalmem() >= 4 * 2 ** 30 && !settings.throwAway ? "256MB" : "128MB",
    wal_buffers: "16MB",
    ...(settings.fsync ? {} : withoutFsync),
    ...(settings.throwAway ? throwAwayWal : durableWal),
    // Claimed and settled deliveries die young: clean up after them often.
    autovacuum_naptime: "15s",
    // Parallel queries want more of /dev/shm than a container has (64 MB).
    max_parallel_workers_per_gather: 0,
    idle_in_transaction_session_timeout: "60s",
    // Ends the long query of a service that was killed, so that its locks do not outlive it.
    ...(process.platform === "linux" ? { client_connection_check_interval: "5s" } : {}),
    timezone: "UTC",
    log_timezone: "UTC",
    log_line_prefix: "%m [%p] ",
    log_checkpoints: "off",
    logging_collector: "off",
  };
  return Object.entries(values).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
}

// Not synchronous_commit: with it off, a crash of Postgres alone would lose events that were acknowledged.
const withoutFsync = { fsync: "off", full_page_writes: "off" };

// Until there are old segments to use again, a new one is needed every 16 MB; to fill it with zeros first stops all commits
// for 40 ms each time. The space is then taken as it is written, and a full disk is noticed there.
const durableWal = {
  min_wal_size: "256MB",
  max_wal_size: "2GB",
  checkpoint_timeout: "15min",
  wal_init_zero: "off",
};
const throwAwayWal = { wal_level: "minimal", max_wal_senders: 0, min_wal_size: "64MB", max_wal_size: "512MB" };
