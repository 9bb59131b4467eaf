// What the environment says of NATS: the connection, and what streams have there by default. Secrets are never repeated.
import { readFileSync } from "node:fs";
import {
  isStreamPattern,
  isSubjectPattern,
  streamPatternMeaning,
  subjectPatternMeaning,
} from "../../stream/cross-service/names.ts";
import type { NatsCredentials, NatsOptions } from "./jetstream.ts";

export type BridgeSettings = {
  /** Null without NATS_URL: events wait until there is one. */
  connection: Pick<NatsOptions, "servers" | "credentials" | "tls" | "inboxPrefix"> | null;
  streamPattern: string;
  subjectPattern: string;
  /** `verify`: JetStream streams are made by somebody else; they are looked at and never changed. */
  topology: "create" | "verify";
  /** How often JetStream is looked at while nothing is published, in milliseconds. */
  checkIntervalMs: number;
  /** What a stream has that says nothing of its own; null: no bound. */
  defaults: StreamDefaults;
};

export type StreamDefaults = {
  mode: "binary" | "structured";
  replicas: number;
  storage: "file" | "memory";
  maxAgeMs: number | null;
  maxBytes: number | null;
  maxEvents: number | null;
};

/** How variables are read; each throws what names the variable. */
export type Readers = {
  env: Record<string, string | undefined>;
  list: (name: string) => string[];
  text: (name: string, fallback: string, pattern: RegExp, meaning: string) => string;
  number: (name: string, fallback: number, min: number, max: number) => number;
  choice: <Choice extends string>(name: string, fallback: Choice, choices: readonly Choice[]) => Choice;
  duration: (name: string, fallback: string, minMs: number, maxMs: number) => number;
  fail: (message: string) => never;
};

const server = /^(?:nats|tls):\/\/(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::(\d{1,5}))?\/?$/;
const maxDays = 36_500;

export function readBridgeSettings(readers: Readers): BridgeSettings {
  const { text, number, choice, duration, fail } = readers;
  const pattern = (name: string, fallback: string, isPattern: (value: string) => boolean, meaning: string) => {
    const value = text(name, fallback, /^/, meaning);
    if (!isPattern(value)) fail(`${name} must be ${meaning}, not ${JSON.stringify(value)}`);
    return value;
  };
  const bound = (name: string) => {
    const value = number(name, 0, 0, 999_999_999_999_999);
    return value === 0 ? null : value;
  };
  const maxAgeMs = duration("NATS_MAX_AGE", "0s", 0, maxDays * 86_400_000);
  if (maxAgeMs !== 0 && maxAgeMs < 1_000) fail("NATS_MAX_AGE must be 0s, which is for ever, or at least 1s");
  return {
    connection: readConnection(readers),
    streamPattern: pattern("NATS_STREAM", "{service}_{stream}", isStreamPattern, streamPatternMeaning),
    subjectPattern: pattern("NATS_SUBJECT", "{service}.{stream}.{type}", isSubjectPattern, subjectPatternMeaning),
    topology: choice("NATS_TOPOLOGY", "create", ["create", "verify"]),
    checkIntervalMs: duration("NATS_CHECK_INTERVAL", "30s", 1_000, 3_600_000),
    defaults: {
      mode: choice("NATS_MODE", "binary", ["binary", "structured"]),
      replicas: number("NATS_REPLICAS", 1, 1, 5),
      storage: choice("NATS_STORAGE", "file", ["file", "memory"]),
      maxAgeMs: maxAgeMs === 0 ? null : maxAgeMs,
      maxBytes: bound("NATS_MAX_BYTES"),
      maxEvents: bound("NATS_MAX_EVENTS"),
    },
  };
}

function readConnection(readers: Readers): BridgeSettings["connection"] {
  const { list, text, fail } = readers;
  const servers = list("NATS_URL");
  for (const url of servers) {
    const [match, port] = server.exec(url) ?? [null];
    // The value is not repeated: it may hold a password.
    if (match === null || Number(port ?? 4222) > 65_535 || Number(port ?? 4222) === 0)
      fail(
        "NATS_URL must be servers such as nats://host:4222 or tls://host:4222, separated by commas; user and password stand in NATS_USER and NATS_PASSWORD",
      );
  }
  const credentials = readCredentials(readers);
  const caFile = readPath(readers, "NATS_TLS_CA");
  const certFile = readPath(readers, "NATS_TLS_CERT");
  const keyFile = readPath(readers, "NATS_TLS_KEY");
  if ((certFile === null) !== (keyFile === null))
    fail("NATS_TLS_CERT and NATS_TLS_KEY are given together or not at all");
  const isEncrypted = caFile !== null || certFile !== null || servers.some((url) => url.startsWith("tls://"));
  const inboxPrefix = text(
    "NATS_INBOX_PREFIX",
    "_INBOX",
    /^[A-Za-z0-9_-]{1,100}(?:\.[A-Za-z0-9_-]{1,100}){0,9}$/,
    "tokens of letters, digits, - and _ joined by dots, such as _INBOX or _INBOX_sluice",
  );
  if (servers.length === 0) return null;
  return { servers, credentials, tls: isEncrypted ? { caFile, certFile, keyFile } : null, inboxPrefix };
}

function readCredentials({ env, fail }: Readers): NatsCredentials | null {
  const given = (name: string) => env[name] || null;
  const [user, password, token, file] = ["NATS_USER", "NATS_PASSWORD", "NATS_TOKEN", "NATS_CREDS"].map(given);
  if ((user === null) !== (password === null))
    fail(user === null ? "NATS_PASSWORD needs NATS_USER" : "NATS_USER needs NATS_PASSWORD");
  if ([user, token, file].filter((each) => each !== null).length > 1)
    fail("NATS_USER, NATS_TOKEN and NATS_CREDS exclude each other");
  if (user && password) return { kind: "password", user, password };
  if (token) return { kind: "token", token };
  if (!file) return null;
  try {
    return { kind: "creds", content: readFileSync(file) };
  } catch (error) {
    return fail(`NATS_CREDS names a file that cannot be read: ${(error as Error).message}`);
  }
}

function readPath({ env, fail }: Readers, name: string): string | null {
  const path = env[name] || null;
  if (path === null) return null;
  try {
    readFileSync(path);
  } catch (error) {
    fail(`${name} names a file that cannot be read: ${(error as Error).message}`);
  }
  return path;
}
