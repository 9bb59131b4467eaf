// The one place that knows the package `nats`: a connection that comes back for ever, publishing with confirmations, JetStream's management.
import {
  type AckPolicy,
  type ConsumerConfig,
  connect,
  createInbox,
  credsAuthenticator,
  type DeliverPolicy,
  headers,
  type JetStreamManager,
  type Msg,
  type MsgHdrs,
  type NatsConnection,
  NatsError,
  nanos,
  type StreamConfig,
  type StreamInfo,
} from "nats";
import { endSoon } from "../../base/end-soon.ts";
import { pause } from "../../base/pause.ts";
import { type Backoff, createBackoff } from "./backoff.ts";
import {
  type Confirmation,
  consumerNotFound,
  type Headers,
  JetStreamError,
  MessageTooLarge,
  type Nats,
  type NatsConsumer,
  type NatsOptions,
  type NatsState,
  type NatsStream,
  NatsUnavailable,
  noStream,
  type PullStatus,
  type ReceivedMessage,
  type StreamSettings,
  streamNotFound,
} from "./jetstream.ts";

const pingIntervalMs = 10_000;
/** How long what was published may take to be written out at the end. */
const stopMs = 2_000;
const decoder = new TextDecoder();

export function startNats(options: NatsOptions): Nats {
  const { log } = options;
  const backoff: Backoff = createBackoff({ initialMs: 100, maxMs: 10_000 });
  const listeners = new Set<(state: NatsState) => void>();
  const abort = new AbortController();
  let connection: NatsConnection | null = null;
  let manager: JetStreamManager | null = null;
  let state: NatsState = "connecting";
  let lastError: string | null = null;
  let connects = 0;

  function enter(next: NatsState): void {
    if (state === next || abort.signal.aborted) return;
    state = next;
    for (const listener of listeners) listener(next);
  }

  function failed(error: unknown, what: string): void {
    lastError = error instanceof Error ? error.message : String(error);
    log.warn({ err: error, servers: options.servers }, what);
  }

  async function open(): Promise<NatsConnection> {
    const { credentials, tls } = options;
    return connect({
      servers: [...options.servers],
      name: options.name,
      inboxPrefix: options.inboxPrefix,
      timeout: options.timeoutMs,
      // The library gives up after ten attempts, and after two refusals of the credentials, if nobody forbids it.
      maxReconnectAttempts: -1,
      ignoreAuthErrorAbort: true,
      reconnectDelayHandler: backoff.nextMs,
      pingInterval: pingIntervalMs,
      maxPingOut: 2,
      ...(credentials?.kind === "password" && { user: credentials.user, pass: credentials.password }),
      ...(credentials?.kind === "token" && { token: credentials.token }),
      ...(credentials?.kind === "creds" && { authenticator: credsAuthenticator(credentials.content) }),
      ...(tls !== null && {
        tls: {
          ...(tls.caFile !== null && { caFile: tls.caFile }),
          ...(tls.certFile !== null && { certFile: tls.certFile }),
          ...(tls.keyFile !== null && { keyFile: tls.keyFile }),
        },
      }),
    });
  }

  function connected(nc: NatsConnection): void {
    backoff.reset();
    connects++;
    lastError = null;
    log.info({ server: nc.getServer(), connects }, "connected to NATS");
    enter("connected");
  }

  async function watch(nc: NatsConnection): Promise<void> {
    for await (const { type, data } of nc.status()) {
      if (type === "disconnect") {
        lastError = "the connection was lost";
        log.warn({ server: data }, "NATS connection lost");
        enter("disconnected");
      } else if (type === "reconnect") connected(nc);
      else if (type === "error") failed(new Error(String(data)), "NATS reports an error");
      else if (type === "ldm") log.info({ server: data }, "the NATS server is about to leave");
    }
  }

  /** Connects, and again whenever the library has given up for good. */
  async function keep(): Promise<void> {
    while (!abort.signal.aborted) {
      try {
        const nc = await open();
        if (abort.signal.aborted) return nc.close();
        connection = nc;
        manager = await nc.jetstreamManager({ checkAPI: false, timeout: options.timeoutMs });
        connected(nc);
        void watch(nc);
        const reason = await nc.closed();
        connection = null;
        manager = null;
        if (abort.signal.aborted) return;
        enter("disconnected");
        failed(reason ?? new Error("the connection was closed"), "NATS connection closed");
      } catch (error) {
        failed(error, "cannot connect to NATS");
        enter("disconnected");
      }
      await pause(backoff.nextMs(), abort.signal);
    }
  }

  const kept = keep();

  function standing(): NatsConnection {
    if (connection === null || state !== "connected") throw new NatsUnavailable(lastError ?? "not connected to NATS");
    return connection;
  }

  /** Asks JetStream. What is not there is null. */
  async function ask<T>(
    task: (manager: JetStreamManager) => Promise<T>,
    absent: readonly number[] = [],
  ): Promise<T | null> {
    standing();
    try {
      return await task(manager as JetStreamManager);
    } catch (error) {
      const code = error instanceof NatsError ? (error.api_error?.err_code ?? null) : null;
      if (code !== null && absent.includes(code)) return null;
      if (code !== null) throw new JetStreamError(code, (error as Error).message, { cause: error });
      const message = error instanceof Error ? error.message : String(error);
      if (error instanceof NatsError && error.code === "503")
        throw new JetStreamError(noStream, "JetStream does not answer: it is off, or the account may not ask it", {
          cause: error,
        });
      throw new NatsUnavailable(message, { cause: error });
    }
  }

  return {
    state: () => state,
    lastError: () => (state === "connected" ? null : lastError),
    server() {
      const info = connection?.info;
      if (info === undefined || state !== "connected") return null;
      return { version: info.version, name: info.server_name, maxPayloadBytes: info.max_payload };
    },
    connects: () => connects,
    onState(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    openPublisher(onConfirmed) {
      const nc = standing();
      const inbox = createInbox(options.inboxPrefix);
      const subscription = nc.subscribe(`${inbox}.*`, {
        callback(error, message) {
          if (error !== null) return;
          onConfirmed(
            Number(message.subject.slice(inbox.length + 1)),
            confirmationOf(message.data, message.headers?.code),
          );
        },
      });
      return {
        publish(number, subject, lines, data) {
          const head = headers();
          for (const [name, value] of lines) head.set(name, value);
          try {
            nc.publish(subject, data, { headers: head, reply: `${inbox}.${number}` });
          } catch (error) {
            const message = `${(error as Error).message}: ${data.length} bytes and their headers, of ${nc.info?.max_payload}`;
            if (error instanceof NatsError && error.code === "MAX_PAYLOAD_EXCEEDED")
              throw new MessageTooLarge(message, { cause: error });
            throw new NatsUnavailable((error as Error).message, { cause: error });
          }
        },
        close: () => subscription.unsubscribe(),
      };
    },
    findStream: async (name) => streamOf(await ask((jsm) => jsm.streams.info(name), [streamNotFound])),
    createStream: async (name, subjects, settings) =>
      streamOf(
        await ask((jsm) => jsm.streams.add({ name, subjects: [...subjects], ...configOf(settings) })),
      ) as NatsStream,
    updateStream: async (name, subjects, settings) =>
      streamOf(
        await ask((jsm) => jsm.streams.update(name, { subjects: [...subjects], ...configOf(settings) })),
      ) as NatsStream,
    streamOfSubject: (subject) =>
      ask((jsm) => jsm.streams.find(subject)).catch((error: unknown) => {
        // The library throws what has no code when no stream has the subject.
        if (error instanceof NatsUnavailable && /no stream matches/.test(error.message)) return null;
        throw error;
      }),
    async message(stream, sequence) {
      const found = await ask((jsm) => jsm.streams.getMessage(stream, { seq: sequence }), [10037]);
      if (found === null) return null;
      const storedMs = Math.floor(found.time.getTime());
      return { sequence: found.seq, subject: found.subject, storedMs, headers: new Map(linesOf(found.header)) };
    },
    async findConsumer(stream, name) {
      return consumerOf(await ask((jsm) => jsm.consumers.info(stream, name), [consumerNotFound, streamNotFound]));
    },
    async createConsumer({ stream, name, subject, startSequence, ackWaitMs, maxUnacknowledged }) {
      const config: Partial<ConsumerConfig> = {
        durable_name: name,
        ack_policy: "all" as AckPolicy,
        deliver_policy: "by_start_sequence" as DeliverPolicy,
        opt_start_seq: startSequence,
        ack_wait: nanos(ackWaitMs),
        max_ack_pending: maxUnacknowledged,
        ...(subject !== null && { filter_subject: subject }),
      };
      return consumerOf(await ask((jsm) => jsm.consumers.add(stream, config))) as NatsConsumer;
    },
    async deleteConsumer(stream, name) {
      await ask((jsm) => jsm.consumers.delete(stream, name), [consumerNotFound, streamNotFound]);
    },
    openPuller(stream, consumer, { onMessage, onStatus }) {
      const nc = standing();
      const inbox = createInbox(options.inboxPrefix);
      const subscription = nc.subscribe(inbox, {
        callback(error, message) {
          if (error !== null) onStatus({ code: 0, description: error.message, unserved: 0 });
          else if (message.reply) onMessage(received(message, message.reply));
          else onStatus(statusOf(message));
        },
      });
      const subject = `$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`;
      return {
        pull({ messages, bytes, expiresMs, heartbeatMs }) {
          const request = {
            batch: messages,
            max_bytes: bytes,
            expires: nanos(expiresMs),
            idle_heartbeat: nanos(heartbeatMs),
          };
          nc.publish(subject, JSON.stringify(request), { reply: inbox });
        },
        acknowledge: (receipt) => nc.publish(receipt),
        close: () => subscription.unsubscribe(),
      };
    },
    async stop() {
      abort.abort(new Error("the service stops"));
      listeners.clear();
      const soon = (end: Promise<unknown>) => endSoon(end, stopMs, abort.signal).catch(() => {});
      // What was published is written out first; a server that is away or hangs is not waited for.
      if (connection !== null && state === "connected") await soon(connection.drain());
      await connection?.close();
      state = "closed";
      // A server that is still called is hung up on when it answers.
      await soon(kept);
    },
  };
}

function confirmationOf(data: Uint8Array, code: number | undefined): Confirmation {
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

function configOf(settings: StreamSettings): Partial<StreamConfig> {
  return {
    max_age: nanos(settings.maxAgeMs),
    max_bytes: settings.maxBytes,
    max_msgs: settings.maxMessages,
    num_replicas: settings.replicas,
    storage: settings.storage as StreamConfig["storage"],
    duplicate_window: nanos(settings.duplicateWindowMs),
    description: settings.description,
  };
}

function streamOf(info: StreamInfo | null): NatsStream | null {
  if (info === null) return null;
  const { config, state } = info;
  return {
    name: config.name,
    subjects: config.subjects ?? [],
    created: info.created as unknown as string,
    messages: state.messages,
    firstSequence: state.first_seq,
    lastSequence: state.last_seq,
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

function consumerOf(
  info: { name: string; num_ack_pending: number; num_pending: number; num_redelivered: number } | null,
) {
  if (info === null) return null;
  const { name, num_ack_pending: unacknowledged, num_pending: pending, num_redelivered: redelivered } = info;
  return { name, unacknowledged, pending, redelivered };
}

/** The address of an acknowledgement tells of the message (ADR-15): its delivery, sequences, time and what comes behind it. */
function received(message: Msg, receipt: string): ReceivedMessage {
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
      return readHeaders(message as Msg & Raw);
    },
    data: message.data,
  };
}

function statusOf({ headers }: Msg): PullStatus {
  return {
    code: headers?.code ?? 0,
    description: headers?.description ?? "",
    unserved: Number(headers?.get("Nats-Pending-Messages") || 0),
  };
}

/** What the library keeps of a message as it came; there is no other way to it. */
type Raw = { _rdata?: Uint8Array; _msg?: { hdr?: number } };

/** The lines of headers as they came: the library's own reading takes six times as long, and would be a third of all work. */
function readHeaders(message: Msg & Raw): [string, string][] {
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

function linesOf(headers: MsgHdrs | undefined): [string, string][] {
  const lines: [string, string][] = [];
  for (const [name, values] of headers ?? []) lines.push([name, values[0] ?? ""]);
  return lines;
}
