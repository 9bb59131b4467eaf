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
  type NatsConnection,
  NatsError,
  type StreamConfig,
} from "nats";
import { endSoon } from "../../base/end-soon.ts";
import { pause } from "../../base/pause.ts";
import { type Backoff, createBackoff } from "./backoff.ts";
import {
  consumerNotFound,
  forbidden,
  JetStreamError,
  MessageTooLarge,
  messageNotFound,
  type Nats,
  type NatsOptions,
  type NatsState,
  NatsUnavailable,
  noStream,
  notPermitted,
  streamNotFound,
} from "./jetstream.ts";
import { configOf, confirmationOf, consumerOf, linesOf, nanos, received, statusOf, streamOf } from "./nats-words.ts";
import { isAcknowledgement, reasonOf, sentenceOf, unquoted, type Violation } from "./refusals.ts";

const pingIntervalMs = 10_000;
/** How long what was published may take to be written out at the end. */
const stopMs = 2_000;
/** What a pull is told that the account is not allowed. */

export function startNats(options: NatsOptions): Nats {
  const { log } = options;
  const backoff: Backoff = createBackoff({ initialMs: 100, maxMs: 10_000 });
  const listeners = new Set<(state: NatsState) => void>();
  const violated = new Set<(violation: Violation, sentence: string) => void>();
  /** What this connection was refused and the log has. */
  const told = new Set<string>();
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
    lastError = reasonOf(error, options);
    const isOrdinary = typeof error === "string" || (error instanceof Error && "code" in error);
    log.warn({ ...(isOrdinary ? { reason: lastError } : { err: error }), servers: options.servers }, what);
  }

  function refused(violation: Violation): void {
    const sentence = sentenceOf(violation, options.inboxPrefix);
    for (const listener of violated) listener(violation, sentence);
    if (told.has(sentence)) return;
    told.add(sentence);
    log.warn({ ...violation, reason: sentence }, "NATS does not permit it");
  }

  /** Has a listener hear of what is refused until the returned function is called. */
  function onViolation(listener: (violation: Violation, sentence: string) => void): () => void {
    violated.add(listener);
    return () => violated.delete(listener);
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
      pingInterval: options.pingIntervalMs ?? pingIntervalMs,
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
    told.clear();
    log.info({ server: nc.getServer(), connects }, "connected to NATS");
    enter("connected");
  }

  async function watch(nc: NatsConnection): Promise<void> {
    for await (const { type, data, permissionContext } of nc.status()) {
      if (type === "disconnect") {
        lastError = "the connection was lost";
        log.warn({ server: data }, "NATS connection lost");
        enter("disconnected");
      } else if (type === "reconnect") connected(nc);
      // By itself the library would write out first what nobody takes.
      else if (type === "staleConnection") void nc.close();
      else if (permissionContext !== undefined) refused(unquoted(permissionContext));
      else if (type === "error") failed(new NatsError(String(data), String(data)), "NATS reports an error");
      else if (type === "ldm") log.info({ server: data }, "the NATS server is about to leave");
    }
  }

  /** Connects, and again whenever the library has given up for good. */
  async function keep(): Promise<void> {
    while (!abort.signal.aborted) {
      let nc: NatsConnection | null = null;
      try {
        nc = await open();
        if (abort.signal.aborted) return;
        manager = await nc.jetstreamManager({ checkAPI: false, timeout: options.timeoutMs });
        connection = nc;
        connected(nc);
        void watch(nc);
        const reason = await nc.closed();
        if (abort.signal.aborted) return;
        enter("disconnected");
        failed(reason ?? "the connection was closed", "NATS connection closed");
      } catch (error) {
        failed(error, "cannot connect to NATS");
        enter("disconnected");
      } finally {
        connection = null;
        manager = null;
        await nc?.close();
      }
      await pause(backoff.nextMs(), abort.signal);
    }
  }

  const kept = keep();

  function standing(): NatsConnection {
    if (connection === null || state !== "connected") throw new NatsUnavailable(lastError ?? "not connected to NATS");
    return connection;
  }

  /** Asks JetStream for what may not be there, as these codes say: then it is null. */
  const askFor = <T>(task: (manager: JetStreamManager) => Promise<T>, absent: readonly number[]): Promise<T | null> =>
    ask(task).catch((error: unknown) => {
      if (error instanceof JetStreamError && absent.includes(error.code)) return null;
      throw error;
    });

  async function ask<T>(task: (manager: JetStreamManager) => Promise<T>): Promise<T> {
    standing();
    try {
      return await task(manager as JetStreamManager);
    } catch (error) {
      const code = error instanceof NatsError ? (error.api_error?.err_code ?? null) : null;
      if (code !== null) throw new JetStreamError(code, (error as Error).message, { cause: error });
      if (error instanceof NatsError && error.permissionContext !== undefined)
        throw new JetStreamError(notPermitted, sentenceOf(unquoted(error.permissionContext), options.inboxPrefix), {
          cause: error,
        });
      if (error instanceof NatsError && error.code === "503")
        throw new JetStreamError(noStream, "JetStream does not answer: it is off, or the account may not ask it", {
          cause: error,
        });
      const isLate = error instanceof NatsError && error.code === "TIMEOUT";
      throw new NatsUnavailable(isLate ? "JetStream did not answer in time" : reasonOf(error, options), {
        cause: error,
      });
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
    openPublisher({ onConfirmed, onRefused }) {
      const nc = standing();
      const inbox = createInbox(options.inboxPrefix);
      let isLate = false;
      const subscription = nc.subscribe(`${inbox}.*`, {
        callback(error, message) {
          // Of its inbox `onViolation` hears.
          if (error !== null) return;
          const number = Number(message.subject.slice(inbox.length + 1));
          const confirmation = confirmationOf(message.data, message.headers?.code);
          // That one was refused is told before the answers to those behind it, and heard in a turn of its own.
          isLate ||= "code" in confirmation;
          if (isLate) setImmediate(() => onConfirmed(number, confirmation));
          else onConfirmed(number, confirmation);
        },
      });
      const forget = onViolation(({ operation, subject }, sentence) => {
        if (operation === "publish") onRefused(subject, sentence);
        else if (subject === `${inbox}.*`) onRefused(null, sentence);
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
        close() {
          forget();
          subscription.unsubscribe();
        },
      };
    },
    async findStream(name) {
      const found = await askFor((jsm) => jsm.streams.info(name), [streamNotFound]);
      return found && streamOf(found);
    },
    async createStream(name, subjects, settings) {
      const config = { ...configOf(settings), name, subjects: [...subjects] } as Partial<StreamConfig>;
      return streamOf(await ask((jsm) => jsm.streams.add(config)));
    },
    async updateStream(name, subjects, settings) {
      const config = { ...configOf(settings), subjects: [...subjects] } as Partial<StreamConfig>;
      return streamOf(await ask((jsm) => jsm.streams.update(name, config)));
    },
    streamsOfSubject: (subject) => ask((jsm) => jsm.streams.names(subject).next()),
    async message(stream, sequence) {
      const found = await askFor((jsm) => jsm.streams.getMessage(stream, { seq: sequence }), [messageNotFound]);
      if (found === null) return null;
      const storedMs = Math.floor(found.time.getTime());
      return { sequence: found.seq, subject: found.subject, storedMs, headers: new Map(linesOf(found.header)) };
    },
    async findConsumer(stream, name) {
      const found = await askFor((jsm) => jsm.consumers.info(stream, name), [consumerNotFound, streamNotFound]);
      return found && consumerOf(found);
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
      return consumerOf(await ask((jsm) => jsm.consumers.add(stream, config)));
    },
    async deleteConsumer(stream, name) {
      await askFor((jsm) => jsm.consumers.delete(stream, name), [consumerNotFound, streamNotFound]);
    },
    openPuller(stream, consumer, { onMessage, onStatus }) {
      const nc = standing();
      const inbox = createInbox(options.inboxPrefix);
      const subscription = nc.subscribe(inbox, {
        callback(error, message) {
          // Of its inbox `onViolation` hears.
          if (error !== null) return;
          if (message.reply) onMessage(received(message, message.reply));
          else onStatus(statusOf(message));
        },
      });
      const subject = `$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`;
      const forget = onViolation((violation, sentence) => {
        const isOurs =
          violation.operation === "publish"
            ? violation.subject === subject || isAcknowledgement(violation.subject, stream, consumer)
            : violation.subject === inbox;
        if (isOurs) onStatus({ code: forbidden, description: sentence, unserved: 0 });
      });
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
        close() {
          forget();
          subscription.unsubscribe();
        },
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
