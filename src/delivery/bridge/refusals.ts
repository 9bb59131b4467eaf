// What NATS refuses, and why it cannot be reached, in sentences that a person can make something of. Pure, and without the package `nats`.
import { JetStreamError, type NatsOptions, NatsUnavailable } from "./jetstream.ts";

/** What an account is not allowed to do, as the library hands it out. */
export type Violation = { operation: string; subject: string };

/** The same for each try: without what is random in the name of an inbox, and without the place that an acknowledgement tells. */
export function sentenceOf({ operation, subject }: Violation, inboxPrefix: string): string {
  if (operation === "publish") return `the account may not publish on ${permissionOf(subject)}`;
  if (!subject.startsWith(`${inboxPrefix}.`)) return `the account may not subscribe to ${subject}`;
  return `the account may not subscribe to ${inboxPrefix}.…: NATS_INBOX_PREFIX names the inbox it may use`;
}

/** What is to be allowed for a subject: acknowledgements of one consumer have a subject each (ADR-15). */
function permissionOf(subject: string): string {
  if (!subject.startsWith("$JS.ACK.")) return subject;
  const tokens = subject.split(".");
  return `${tokens.slice(0, tokens.length >= 11 ? 6 : 4).join(".")}.>`;
}

/** Whether a subject is where a message of this consumer is acknowledged (ADR-15): behind a domain and an account in later servers. */
export function isAcknowledgement(subject: string, stream: string, consumer: string): boolean {
  if (!subject.startsWith("$JS.ACK.")) return false;
  const tokens = subject.split(".");
  const first = tokens.length >= 11 ? 4 : 2;
  return tokens[first] === stream && tokens[first + 1] === consumer;
}

/** Servers quote a subject as Go does. */
export function unquoted({ operation, subject }: Violation): Violation {
  try {
    return { operation, subject: JSON.parse(`"${subject}"`) as string };
  } catch {
    return { operation, subject };
  }
}

/** Why there is no connection; some errors of the library are no more than a code. */
export function reasonOf(error: unknown, { tls, servers }: Pick<NatsOptions, "tls" | "servers">): string {
  const { code, message } = error instanceof Error ? (error as Error & { code?: unknown }) : {};
  if (code === "TIMEOUT") {
    // A certificate that is refused is not told to who presents it.
    const refused = tls === null ? "" : ", or refused the certificate or the want of one: its log says so";
    return `${servers.join(", ")} did not answer in time${refused}`;
  }
  if (code === "SERVER_OPT_NA" && message === "tls") return "the server offers no TLS";
  const text = message ?? String(error);
  // The server's own words come in quotes.
  if (!/^[A-Z_]+$/.test(text)) return text.replace(/^'(.*)'$/s, "$1");
  const words = text.toLowerCase().replaceAll("_", " ");
  return `${words.slice(0, 1).toUpperCase()}${words.slice(1)}`;
}

/** What a line of the log tells of an error: of what NATS refuses the sentence, of everything else where it comes from. */
export function toldOf(error: unknown): { reason: string } | { err: unknown } {
  if (typeof error === "string") return { reason: error };
  return error instanceof JetStreamError || error instanceof NatsUnavailable
    ? { reason: error.message }
    : { err: error };
}
