// Small journals of consumers written by hand, so that each check of the ledger can be shown a violation.
import { checkLedger } from "../crash/check/ledger.ts";
import type {
  Delivered,
  LedgerSampled,
  Operated,
  Settling,
  SettlingAnswered,
  SubscriptionDeclared,
  UnreadListed,
  WhatIsRead,
} from "../crash/consumer-history.ts";
import type { Entry } from "../crash/history.ts";
import type { DeadLetter, JobEvent, LedgerSnapshot } from "../crash/ledger-snapshot.ts";

let op = 0;

/** A subscription `sub` of stream `s`: a second to settle, three attempts. */
export function subscribed(given: Partial<SubscriptionDeclared> = {}): SubscriptionDeclared {
  return {
    ...{ kind: "subscription", subscription: "sub", isQueue: false, stream: "s", mode: "exclusive", types: null },
    ...{ delivery: "at-least-once", visibilityTimeoutMs: 1_000, maxInFlight: 10, maxAttempts: 3 },
    ...{ consumerTimeoutMs: 60_000, onFailure: "skip" },
    ...given,
  };
}

/** An event of stream `s`, whose offset is its position; all of them have key `k`. */
export function job(position: number, given: Partial<JobEvent> = {}): JobEvent {
  const id = `event-${position}`;
  return {
    position,
    id,
    storedAt: 0,
    stream: "s",
    offset: position,
    type: "Opened",
    key: "k",
    hash: `hash-${position}`,
    ...given,
  };
}

type HandedOut = Partial<Delivered> & { consumer?: string };

/** Events that were handed out to `a` in one claim at a time, for a second; tokens are `{position}@{time}`. */
export function handed(positions: number | number[], at: number, given: HandedOut = {}): Entry[] {
  const { consumer = "a", ...delivered } = given;
  const deliveries = [positions].flat().map(
    (position): Delivered => ({
      ...{
        token: `${position}@${at}`,
        id: `event-${position}`,
        stream: "s",
        offset: position,
        position,
        key: "k",
        hash: `hash-${position}`,
      },
      ...{ attempt: 1, deadline: at + 1_000, claimedAt: at },
      ...delivered,
    }),
  );
  const claim = op++;
  return [
    { kind: "claiming", op: claim, at: at - 1, subscription: "sub", consumer },
    { kind: "claimed", op: claim, at: at + 5, status: 200, reason: null, deliveries },
  ];
}

/** A claim that nobody got an answer to. */
export function unanswered(at: number, until: number, consumer = "a"): Entry[] {
  const claim = op++;
  return [
    { kind: "claiming", op: claim, at, subscription: "sub", consumer },
    { kind: "claimed", op: claim, at: until, status: null, reason: "broken", deliveries: [] },
  ];
}

/** What is handed out by an event stream, which ends at a time. */
export function fed(positions: number | number[], at: number, endsAt: number, given: HandedOut = {}): Entry[] {
  const { consumer = "a", ...delivered } = given;
  const [claiming, claimed] = handed(positions, at, { consumer, ...delivered }) as [Entry, { deliveries: Delivered[] }];
  const feed = (claiming as { op: number }).op;
  return [
    { kind: "feed-opened", op: feed, at: at - 1, subscription: "sub", consumer },
    { kind: "fed", op: feed, at: at + 5, deliveries: claimed.deliveries },
    { kind: "feed-closed", op: feed, at: endsAt, byClient: true },
  ];
}

type Asked = Partial<Pick<Settling, "action" | "consumer" | "delayMs" | "extensionMs" | "reason">> &
  Partial<Pick<SettlingAnswered, "deadline" | "status">> & { result?: string; takesMs?: number };

/** A request about tokens, and its answer two milliseconds later; by default an acknowledgement that settles them. */
export function settled(tokens: string | string[], at: number, given: Asked = {}): Entry[] {
  const { action = "ack", consumer = null, delayMs = null, extensionMs = null, reason = null } = given;
  const { status = 200, deadline = null, takesMs = 2 } = given;
  const { result = action === "extend" ? "extended" : "settled" } = given;
  const list = [tokens].flat();
  const settling = op++;
  return [
    {
      kind: "settling",
      op: settling,
      at,
      subscription: "sub",
      action,
      consumer,
      tokens: list,
      delayMs,
      extensionMs,
      reason,
    },
    {
      ...{ kind: "settling-answered", op: settling, at: at + takesMs, status, reason: null, deadline },
      results: status === 200 ? list.map(() => result) : [],
    },
  ];
}

/** A consumer says what it has read, and is answered two milliseconds later. */
export function read(what: WhatIsRead, at: number, given: { status?: number | null; read?: number } = {}): Entry[] {
  const { status = 200, read: count = 1 } = given;
  const reading = op++;
  return [
    { kind: "reading", op: reading, at, subscription: "sub", consumer: "a", what },
    { kind: "reading-answered", op: reading, at: at + 2, status, read: count },
  ];
}

/** A page of what a consumer has not read, asked for two milliseconds before; by default all of it. */
export function unread(positions: number[], at: number, given: Partial<UnreadListed> = {}): UnreadListed {
  const page = { subscription: "sub", consumer: "a", after: -1, upTo: null, positions };
  return { kind: "unread-listed", invokedAt: at - 2, at, ...page, ...given };
}

type MarkAsked = { consumer?: string; status?: number | null; reason?: string };

/** An attempt to mark the event of a token, `{position}@{time}`, and its answer two milliseconds later. */
export function marked(token: string, at: number, given: MarkAsked = {}): Entry[] {
  const { consumer = "a", status = 201, reason = null } = given;
  const marking = op++;
  const position = Number(token.split("@")[0]);
  return [
    { kind: "marking", op: marking, at, subscription: "sub", consumer, position, token },
    { kind: "marking-answered", op: marking, at: at + 2, status, reason },
  ];
}

/** What somebody saw of the cursor. */
export function sampled(floor: number, at: number, given: Partial<LedgerSampled> = {}): LedgerSampled {
  const cursor = { subscription: "sub", consumer: "", place: 10, floor, leased: 0, waiting: 0, parked: 0 };
  return { kind: "sampled", invokedAt: at - 1, at, startedAt: -1_000, cursors: [cursor], firstOffsets: [], ...given };
}

/** A request of an operator, and its answer two milliseconds later. */
export function operated(action: Operated["action"], at: number, given: Partial<Operated> = {}): Operated {
  return {
    kind: "operated",
    action,
    invokedAt: at,
    at: at + 2,
    status: 200,
    subscription: "sub",
    consumer: null,
    ...given,
  };
}

export const crashed = (at: number): Entry => ({
  kind: "fault",
  at,
  what: "crash-postgres 0 for 1 ms",
  phase: "begins",
});

export function dead(position: number, deadAt: number, given: Partial<DeadLetter> = {}): DeadLetter {
  return {
    ...{ subscription: "sub", consumer: "", position, hash: `hash-${position}`, reason: "max-attempts", attempts: 3 },
    ...{ firstError: "not settled in time", lastError: "not settled in time", firstAt: deadAt, lastAt: deadAt, deadAt },
    ...given,
  };
}

function ledgerOf(events: JobEvent[], given: Partial<LedgerSnapshot> = {}): LedgerSnapshot {
  const cursor = { subscription: "sub", consumer: "", place: 10, floor: 11, leased: 0, waiting: 0, parked: 0 };
  return { events, deadLetters: [], cursors: [cursor], parked: [], ...given };
}

/** What all checks say of a journal whose events were handed out and settled as it shows. */
export function violationsOf(
  declared: SubscriptionDeclared,
  history: Entry[],
  ledger: Partial<LedgerSnapshot> & { events: JobEvent[] },
): string[] {
  return checkLedger([declared, ...history], ledgerOf(ledger.events, ledger));
}
