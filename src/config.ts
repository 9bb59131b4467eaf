// The configuration: environment variables, checked at start; a bad value is one clear line.
import { fileURLToPath } from "node:url";
import { parseDuration } from "./base/duration.ts";
import { type BridgeSettings, readBridgeSettings } from "./delivery/bridge/settings.ts";
import { quoteSchema } from "./storage/migrate.ts";

/** A variable that is not as it must be. */
export class ConfigError extends Error {}

export type Config = {
  host: string;
  port: number;
  /** Processes that serve the port. */
  workers: number;
  databaseUrl: string | null;
  storage: "embedded" | "memory";
  dataDir: string;
  /** The embedded Postgres listens on a port of the loopback interface too. */
  embeddedTcp: boolean;
  schema: string;
  autoMigrate: boolean;
  serviceName: string;
  /** The URL under which the service is reached, without a slash at its end; null: where it listens. */
  publicUrl: string | null;
  logLevel: "trace" | "debug" | "info" | "warn" | "error" | "fatal" | "silent";
  poolSize: number;
  commandTimeoutMs: number;
  appendBatchEvents: number;
  appendBatchBytes: number;
  maxBodyBytes: number;
  bodyTimeoutMs: number;
  maxConnections: number;
  heartbeatMs: number;
  retryMs: number;
  connectionBufferBytes: number;
  ringBytes: number;
  partitionSize: number;
  idempotencyKeysMs: number;
  liveForgottenMs: number;
  deduplicationMs: number;
  processedMs: number;
  groupWindow: number;
  trimIntervalMs: number;
  /** How long work that one process does for all stays its own without a sign of life. */
  leaseMs: number;
  outboxIntervalMs: number;
  /** Sagas that are carried out at once. */
  sagaConcurrency: number;
  /** How long sagas are kept that came to a good end. */
  sagaWindowMs: number;
  shutdownMs: number;
  ginIndex: boolean;
  /** Files of the modules that extend the service. */
  modules: string[];
  /** NATS. */
  bridge: BridgeSettings;
  corsOrigins: string[];
  development: boolean;
};

const samples = ["users.ts", "invitations.ts", "orders.ts", "fulfillment.ts"];

type Environment = Record<string, string | undefined>;

/** Reads and checks the environment. Throws `ConfigError`, which names the variable. */
export function readConfig(env: Environment): Config {
  const text = (name: string, fallback: string, pattern: RegExp, meaning: string) => {
    const value = env[name] === undefined || env[name] === "" ? fallback : (env[name] as string);
    if (!pattern.test(value)) throw new ConfigError(`${name} must be ${meaning}, not ${JSON.stringify(value)}`);
    return value;
  };
  const number = (name: string, fallback: number, min: number, max: number) => {
    const value = Number(text(name, String(fallback), /^\d{1,15}$/, `a whole number from ${min} to ${max}`));
    if (value < min || value > max)
      throw new ConfigError(`${name} must be a whole number from ${min} to ${max}, not ${value}`);
    return value;
  };
  const choice = <Choice extends string>(name: string, fallback: Choice, choices: readonly Choice[]) =>
    text(name, fallback, new RegExp(`^(?:${choices.join("|")})$`), `one of ${choices.join(", ")}`) as Choice;
  const flag = (name: string, fallback: boolean) =>
    choice(name, fallback ? "true" : "false", ["true", "false"]) === "true";
  const fail = (message: string): never => {
    throw new ConfigError(message);
  };
  const list = (name: string) => {
    const given = (env[name] ?? "").split(",").map((part) => part.trim());
    return given.filter((part) => part !== "");
  };
  const origins = (name: string) => {
    const listed = list(name);
    for (const origin of listed) {
      if (!URL.canParse(origin) || new URL(origin).origin !== origin)
        throw new ConfigError(`${name} must be origins such as https://app.example.com, not ${JSON.stringify(origin)}`);
    }
    return listed;
  };
  const duration = (name: string, fallback: string, minMs: number, maxMs: number) => {
    const value = text(name, fallback, /^\d{1,9}(ms|s|m|h|d)$/, "a duration such as 500ms, 30s, 5m, 24h or 7d");
    const ms = parseDuration(value) as number;
    if (ms < minMs || ms > maxMs)
      throw new ConfigError(`${name} must be a duration from ${minMs}ms to ${maxMs}ms, not ${value}`);
    return ms;
  };

  /** The samples unless others are named; `none` stands for no modules. */
  const modules = (name: string) => {
    const listed = list(name);
    if (listed.length === 0) return samples.map((file) => fileURLToPath(new URL(`samples/${file}`, import.meta.url)));
    return listed.length === 1 && listed[0] === "none" ? [] : listed;
  };
  const publicUrl = (name: string) => {
    const given = env[name] ?? "";
    if (given === "") return null;
    const url = URL.canParse(given) ? new URL(given) : null;
    if (url === null || !/^https?:$/.test(url.protocol) || url.search !== "" || url.hash !== "" || url.username !== "")
      throw new ConfigError(`${name} must be a URL such as https://events.example.com, not ${JSON.stringify(given)}`);
    return url.href.replace(/\/+$/, "");
  };

  const databaseUrl = env.DATABASE_URL === undefined || env.DATABASE_URL === "" ? null : env.DATABASE_URL;
  if (databaseUrl !== null && !isDatabaseUrl(databaseUrl)) {
    // The value is not repeated: it holds a password.
    throw new ConfigError("DATABASE_URL must be a URL such as postgres://user:password@host:5432/database");
  }
  const schema = text(
    "DATABASE_SCHEMA",
    "event_streaming",
    /^[a-z_][a-z0-9_]{0,55}$/,
    "a lower-case identifier of at most 56 characters",
  );
  try {
    quoteSchema(schema);
  } catch (error) {
    throw new ConfigError(`DATABASE_SCHEMA: ${error instanceof Error ? error.message : error}`);
  }
  return {
    host: text("HOST", "127.0.0.1", /^[\w.:-]{1,253}$/, "a host name or an address"),
    port: number("PORT", 8080, 0, 65_535),
    workers: number("WORKERS", 1, 1, 64),
    databaseUrl,
    storage: choice("STORAGE", "embedded", ["embedded", "memory"]),
    dataDir: text("DATA_DIR", ".data", /^[^\0]{1,1000}$/, "a folder"),
    embeddedTcp: flag("EMBEDDED_TCP", false),
    schema,
    autoMigrate: flag("AUTO_MIGRATE", true),
    serviceName: text(
      "SERVICE_NAME",
      "sluice",
      /^[a-z0-9][a-z0-9_-]{0,62}$/,
      "lower-case letters, digits, - and _, at most 63",
    ),
    publicUrl: publicUrl("PUBLIC_URL"),
    logLevel: choice("LOG_LEVEL", "info", ["trace", "debug", "info", "warn", "error", "fatal", "silent"]),
    poolSize: number("DATABASE_POOL_SIZE", 8, 1, 200),
    commandTimeoutMs: duration("DATABASE_TIMEOUT", "15s", 100, 600_000),
    appendBatchEvents: number("APPEND_BATCH_EVENTS", 1_000, 1, 10_000),
    appendBatchBytes: number("APPEND_BATCH_BYTES", 4_000_000, 1_000, 64_000_000),
    maxBodyBytes: number("MAX_BODY_BYTES", 1_048_576, 1_000, 64_000_000),
    bodyTimeoutMs: duration("BODY_TIMEOUT", "30s", 100, 600_000),
    maxConnections: number("MAX_EVENT_STREAMS", 20_000, 1, 1_000_000),
    heartbeatMs: duration("HEARTBEAT", "15s", 100, 120_000),
    retryMs: duration("SSE_RETRY", "2s", 1, 600_000),
    connectionBufferBytes: number("SSE_BUFFER_BYTES", 65_536, 1_024, 16_000_000),
    ringBytes: number("TAIL_RING_BYTES", 16_777_216, 1_024, 4_000_000_000),
    partitionSize: number("PARTITION_SIZE", 4_000_000, 100, 1_000_000_000),
    liveForgottenMs: duration("LIVE_WINDOW", "1h", 60_000, 2_592_000_000),
    idempotencyKeysMs: duration("IDEMPOTENCY_WINDOW", "24h", 1_000, 2_592_000_000),
    deduplicationMs: duration("DEDUPLICATION_WINDOW", "24h", 1_000, 31_536_000_000),
    groupWindow: number("GROUP_WINDOW", 1_000_000, 10, 100_000_000),
    processedMs: duration("PROCESSED_WINDOW", "7d", 1_000, 31_536_000_000),
    trimIntervalMs: duration("TRIM_INTERVAL", "5s", 50, 3_600_000),
    leaseMs: duration("LEASE_DURATION", "10s", 300, 600_000),
    outboxIntervalMs: duration("OUTBOX_INTERVAL", "100ms", 10, 60_000),
    sagaConcurrency: number("SAGA_CONCURRENCY", 256, 1, 10_000),
    sagaWindowMs: duration("SAGA_WINDOW", "30d", 60_000, 315_360_000_000),
    shutdownMs: duration("SHUTDOWN_TIMEOUT", "20s", 100, 600_000),
    ginIndex: flag("GIN_INDEX", false),
    modules: modules("MODULES"),
    bridge: readBridgeSettings({ env, list, text, number, choice, duration, fail }),
    corsOrigins: origins("CORS_ORIGINS"),
    development: env.NODE_ENV !== "production",
  };
}

/** Whether the driver can read the URL, which may name several hosts. */
function isDatabaseUrl(url: string): boolean {
  if (!/^postgres(ql)?:\/\/\S+$/.test(url)) return false;
  const authority = url.slice(url.indexOf("://") + 3).split(/[?/]/)[0] as string;
  const hosts = authority.slice(authority.indexOf("@") + 1);
  try {
    decodeURIComponent(url);
    return URL.canParse(url.replace(hosts, hosts.split(",")[0] as string));
  } catch {
    return false;
  }
}
