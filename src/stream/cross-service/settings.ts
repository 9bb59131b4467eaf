// What a cross-service stream has in NATS: the key `nats` of its configuration, and the row that keeps it.
import { formatDuration } from "../../base/duration.ts";
import { type Refuse, readCount, readDuration, readFields } from "../configuration-fields.ts";
import {
  isStreamPattern,
  isSubjectPattern,
  type NatsNames,
  streamPatternMeaning,
  subjectPatternMeaning,
} from "./names.ts";

export const natsModes = ["binary", "structured"] as const;
export const natsStorages = ["file", "memory"] as const;

/** Null: the service's default. */
export type NatsSettings = {
  /** Patterns as they are given; names once the stream is configured. */
  stream: string | null;
  subject: string | null;
  mode: (typeof natsModes)[number] | null;
  replicas: number | null;
  storage: (typeof natsStorages)[number] | null;
  /** What JetStream keeps at most. */
  maxAgeMs: number | null;
  maxBytes: number | null;
  maxEvents: number | null;
};

/** As the API shows it: what is shown can be written again. */
export type NatsSettingsShown = Pick<NatsSettings, "stream" | "subject" | "mode" | "replicas" | "storage"> & {
  retention: { maxAge: string | null; maxBytes: string | null; maxEvents: string | null };
};

/** A row of the table, as JSON. */
export type SettingsRow = {
  nats_stream: string;
  nats_subject: string;
  mode: NatsSettings["mode"];
  replicas: number | null;
  storage: NatsSettings["storage"];
  max_age_ms: number | null;
  max_bytes: number | null;
  max_events: number | null;
};

const minAgeMs = 1_000;
const maxAgeMs = 36_500 * 86_400_000;
const maxReplicas = 5;

export function readNats(given: unknown, refuse: Refuse): NatsSettings {
  const keys = ["stream", "subject", "mode", "retention", "replicas", "storage"];
  const { stream, subject, mode, retention, replicas, storage } = readFields(given, "/nats", keys, refuse);
  const bounds = readFields(retention, "/nats/retention", ["maxAge", "maxBytes", "maxEvents"], refuse);
  const pattern = (value: unknown, key: string, isPattern: (text: string) => boolean, meaning: string) => {
    if (value === undefined || value === null) return null;
    if (typeof value === "string" && isPattern(value)) return value;
    refuse(`/nats/${key}`, `must be ${meaning}`);
    return null;
  };
  const choice = <Choice extends string>(value: unknown, key: string, choices: readonly Choice[]) => {
    if (value === undefined || value === null) return null;
    if (choices.includes(value as Choice)) return value as Choice;
    refuse(`/nats/${key}`, `must be one of ${choices.join(", ")}`);
    return null;
  };
  const copies = replicas ?? null;
  if (copies !== null && !(Number.isInteger(copies) && (copies as number) >= 1 && (copies as number) <= maxReplicas))
    refuse("/nats/replicas", `must be a whole number from 1 to ${maxReplicas}`);
  return {
    stream: pattern(stream, "stream", isStreamPattern, streamPatternMeaning),
    subject: pattern(subject, "subject", isSubjectPattern, subjectPatternMeaning),
    mode: choice(mode, "mode", natsModes),
    replicas: copies as number | null,
    storage: choice(storage, "storage", natsStorages),
    maxAgeMs: readDuration(bounds.maxAge, "/nats/retention/maxAge", minAgeMs, maxAgeMs, refuse),
    maxBytes: readCount(bounds.maxBytes, "/nats/retention/maxBytes", refuse),
    maxEvents: readCount(bounds.maxEvents, "/nats/retention/maxEvents", refuse),
  };
}

export function describeNats(settings: NatsSettings): NatsSettingsShown {
  const { stream, subject, mode, replicas, storage, maxAgeMs, maxBytes, maxEvents } = settings;
  const count = (value: number | null) => (value === null ? null : String(value));
  return {
    stream,
    subject,
    mode,
    replicas,
    storage,
    retention: {
      maxAge: maxAgeMs === null ? null : formatDuration(maxAgeMs),
      maxBytes: count(maxBytes),
      maxEvents: count(maxEvents),
    },
  };
}

export function toSettingsRow(settings: NatsSettings, { stream, subject }: NatsNames): SettingsRow {
  return {
    nats_stream: stream,
    nats_subject: subject,
    mode: settings.mode,
    replicas: settings.replicas,
    storage: settings.storage,
    max_age_ms: settings.maxAgeMs,
    max_bytes: settings.maxBytes,
    max_events: settings.maxEvents,
  };
}

export function fromSettingsRow(row: SettingsRow): NatsSettings {
  return {
    stream: row.nats_stream,
    subject: row.nats_subject,
    mode: row.mode,
    replicas: row.replicas,
    storage: row.storage,
    maxAgeMs: row.max_age_ms,
    maxBytes: row.max_bytes,
    maxEvents: row.max_events,
  };
}
