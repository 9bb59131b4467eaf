// What NATS says in the words of the bridge, and the other way round. Pure, and without the package `nats`, whose types fit these.
import {
  type Confirmation,
  type Headers,
  JetStreamError,
  type NatsConsumer,
  type NatsStream,
  noLeader,
  noStream,
  type PullStatus,
  type ReceivedMessage,
  type StreamSettings,
} from "./jetstream.ts";

const decoder = new TextDecoder();
/** JetStream counts time in nanoseconds. */
export const nanos = (ms: number) => ms * 1_000_000;

export function confirmationOf(data: Uint8Array, code: number | undefined): Confirmation {
  if (data.length === 0)
    return { code: noStream, message: code === 503 ? "no stream has the subject" : "an empty answer" };
  const answer = JSON.parse(decoder.decode(data)) as {
    seq?: number;
    duplicate?: boolean;
    error?: { err_code?: number; description?: string };
  };
  if (answer.error !== undefined || answer.seq === undefined)
    return { code: answer.error?.err_code ?? -1, message: answer.error?.description ?? "no sequence in the answer" };
  return { sequence: answer.seq, duplicate: answer.duplicate === true };
}

/** Of a stream, without its name and subjects. */
export function configOf(settings: StreamSettings) {
  return {
    max_age: nanos(settings.maxAgeMs),
    max_bytes: settings.maxBytes,
    max_msgs: settings.maxMessages,
    num_replicas: settings.replicas,
    storage: settings.storage,
    duplicate_window: nanos(settings.duplicateWindowMs),
    description: settings.description,
  };
}

/** What JetStream tells of a stream. */
type StreamInfo = {
  config: {
    name: string;
    subjects?: string[];
    retention: string;
    max_age: number;
    max_bytes: number;
    max_msgs: number;
    num_replicas: number;
    storage: "file" | "memory";
    duplicate_window: number;
    description?: string;
  };
  state: { messages: number; first_seq: number; last_seq: number };
  /** A text, whatever the library calls it. */
  created: unknown;
  /** Of a server that belongs to none it is missing, or names that server. */
  cluster?: { leader?: string };
};

/** Throws `JetStreamError` where the stream has no leader: any server answers then (2.10 and newer), also one that lags behind. */
export function streamOf({ config, state, created, cluster }: StreamInfo): NatsStream {
  if (cluster !== undefined && !cluster.leader)
    throw new JetStreamError(noLeader, `the JetStream stream ${config.name} has no leader for now`);
  return {
    name: config.name,
    subjects: config.subjects ?? [],
    created: created as string,
    messages: state.messages,
    firstSequence: state.first_seq,
    lastSequence: state.last_seq,
    retention: config.retention,
    config: {
      maxAgeMs: config.max_age / 1_000_000,
      maxBytes: config.max_bytes,
      maxMessages: config.max_msgs,
      replicas: config.num_replicas,
      storage: config.storage,
      duplicateWindowMs: config.duplicate_window / 1_000_000,
      description: config.description ?? "",
    },
  };
}

type ConsumerInfo = { name: string; num_ack_pending: number; num_pending: number; num_redelivered: number };

export function consumerOf(info: ConsumerInfo): NatsConsumer {
  const { name, num_ack_pending: unacknowledged, num_pending: pending, num_redelivered: redelivered } = info;
  return { name, unacknowledged, pending, redelivered };
}

type HeaderLines = Iterable<[string, string[]]> & {
  code: number;
  description: string;
  get: (name: string) => string;
};

/** A message as the library hands it out; the last two are what it keeps of it as it came, to which there is no other way. */
type Arrived = {
  subject: string;
  data: Uint8Array;
  headers?: HeaderLines;
  _rdata?: Uint8Array;
  _msg?: { hdr?: number };
};

/** The address of an acknowledgement tells of the message (ADR-15): its delivery, sequences, time and what comes behind it. */
export function received(message: Arrived, receipt: string): ReceivedMessage {
  const tokens = receipt.split(".");
  // Servers of later versions put a domain and an account in between.
  const first = tokens.length >= 11 ? 6 : 4;
  return {
    subject: message.subject,
    receipt,
    attempt: Number(tokens[first]),
    sequence: Number(tokens[first + 1]),
    delivery: Number(tokens[first + 2]),
    // Nanoseconds are more than a number can hold.
    storedMs: Number((tokens[first + 3] ?? "").slice(0, -6)),
    pending: Number(tokens[first + 4]),
    get headers(): Headers {
      return readHeaders(message);
    },
    data: message.data,
    bytes: message._rdata?.length ?? message.data.length,
  };
}

export function statusOf({ headers }: Pick<Arrived, "headers">): PullStatus {
  return {
    code: headers?.code ?? 0,
    description: headers?.description ?? "",
    unserved: Number(headers?.get("Nats-Pending-Messages") || 0),
  };
}

/** The lines of headers as they came: the library's own reading takes six times as long, and would be a third of all work. */
function readHeaders(message: Arrived): [string, string][] {
  const length = message._msg?.hdr;
  if (message._rdata === undefined || length === undefined) return linesOf(message.headers);
  const lines: [string, string][] = [];
  if (length <= 0) return lines;
  const text = decoder.decode(message._rdata.subarray(0, length));
  let at = text.indexOf("\r\n") + 2;
  for (let end = text.indexOf("\r\n", at); end > at; end = text.indexOf("\r\n", at)) {
    const colon = text.indexOf(":", at);
    if (colon > at && colon < end) lines.push([text.slice(at, colon), text.slice(colon + 1, end).trim()]);
    at = end + 2;
  }
  return lines;
}

export function linesOf(headers: HeaderLines | undefined): [string, string][] {
  const lines: [string, string][] = [];
  for (const [name, values] of headers ?? []) lines.push([name, values[0] ?? ""]);
  return lines;
}
