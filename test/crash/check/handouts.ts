// What was handed out, to whom, and what became of it: the journals of consumers, joined by cursor, event and token.
import type { Delivered, SettlingAction, SubscriptionDeclared } from "../consumer-history.ts";
import type { Entry } from "../history.ts";
import { isPerConsumer } from "../subscribed.ts";
import { declining } from "./attempts.ts";

/** One attempt to settle, give back or extend one token. */
export type Settlement = {
  op: number;
  action: SettlingAction;
  consumer: string | null;
  invokedAt: number;
  answeredAt: number;
  /** Null: unknown. */
  result: string | null;
  deadline: number | null;
  delayMs: number | null;
  extensionMs: number | null;
  reason: string | null;
};

export type Handout = Delivered & {
  declared: SubscriptionDeclared;
  /** The consumer where each has its own, else empty. */
  cursor: string;
  consumer: string;
  /** The claim or event stream, and the place in it. */
  op: number;
  order: number;
  receivedAt: number;
  /** When the event stream may have ended for the service; Infinity for a claim. */
  feedEndAt: number;
  settlements: Settlement[];
};

export type Span = { from: number; to: number };

export type CursorJournal = {
  declared: SubscriptionDeclared;
  cursor: string;
  /** Of each event, by its position, in the order of time. */
  events: Map<number, Handout[]>;
};

export type Journals = {
  declared: SubscriptionDeclared[];
  cursors: CursorJournal[];
  /** When the service may have handed out what the consumer, or any of them, never saw. */
  unseen: (subscription: string, consumer: string | null) => Span[];
  /** The consumer was heard of at some moment of each, in the order of their ends. */
  signsOfLife: (subscription: string, consumer: string) => Span[];
  /** When the consumer was removed, or may have been. */
  removals: (subscription: string, consumer: string) => Span[];
  /** Attempts to settle tokens that nobody was given. */
  strangers: Settlement[];
};

/** For the service to find out that a connection is gone, and for the time of what it had in hand by then. */
const lagMs = 15_000;
/** By so much the service may know earlier than the client that a connection is cut. */
const earlierMs = 500;

const keyOf = (subscription: string, consumer: string) => `${subscription} ${consumer}`;

export function journalsOf(history: readonly Entry[]): Journals {
  const declared = new Map<string, SubscriptionDeclared>();
  const asked = new Map<number, { subscription: string; consumer: string; seenAt: number; answered: boolean }>();
  const handouts = new Map<string, Handout[]>();
  const all: Handout[] = [];
  const unseen = new Map<string, Span[]>();
  const signs = new Map<string, Span[]>();
  const removals = new Map<string, Span[]>();
  const feedEnds = new Map<number, number>();
  const push = <T>(map: Map<string, T[]>, key: string, value: T) => {
    const list = map.get(key);
    if (list === undefined) map.set(key, [value]);
    else list.push(value);
  };

  function take(op: number, at: number, deliveries: readonly Delivered[]): void {
    const by = asked.get(op);
    const subscription = declared.get(by?.subscription ?? "");
    if (by === undefined || subscription === undefined) return;
    hear(op, at);
    by.seenAt = at;
    const cursor = isPerConsumer(subscription) ? by.consumer : "";
    for (const [order, delivered] of deliveries.entries()) {
      const handout: Handout = {
        ...{ ...delivered, declared: subscription, cursor, consumer: by.consumer, op, order, receivedAt: at },
        ...{ feedEndAt: Number.POSITIVE_INFINITY, settlements: [] },
      };
      all.push(handout);
      if (delivered.deadline !== null) push(handouts, delivered.token, handout);
    }
  }

  /** The first answer shows that the service has noted its consumer. */
  function hear(op: number, at: number): void {
    const by = asked.get(op);
    if (by === undefined || by.answered) return;
    by.answered = true;
    push(signs, keyOf(by.subscription, by.consumer), { from: by.seenAt, to: at });
  }

  function lose(op: number, at: number): void {
    const by = asked.get(op);
    if (by === undefined) return;
    for (const whose of [by.consumer, ""])
      push(unseen, keyOf(by.subscription, whose), { from: by.seenAt, to: at + lagMs });
  }

  for (const entry of history) {
    if (entry.kind === "subscription") declared.set(entry.subscription, entry);
    else if (entry.kind === "claiming" || entry.kind === "feed-opened") {
      const { subscription, consumer, at } = entry;
      asked.set(entry.op, { subscription, consumer, seenAt: at, answered: false });
    } else if (entry.kind === "claimed") {
      if (entry.status === 200) take(entry.op, entry.at, entry.deliveries);
      else lose(entry.op, entry.at);
    } else if (entry.kind === "operated") {
      if (entry.action !== "remove-consumer" || entry.status === 404) continue;
      // One whose answer is lost may be carried out later.
      const to = entry.at + (entry.status === null || entry.status >= 500 ? lagMs : 0);
      push(removals, keyOf(entry.subscription, entry.consumer ?? ""), { from: entry.invokedAt, to });
    } else if (entry.kind === "fed") take(entry.op, entry.at, entry.deliveries);
    else if (entry.kind === "feed-closed") {
      feedEnds.set(entry.op, entry.byClient ? entry.at : entry.at - earlierMs);
      lose(entry.op, entry.at);
    }
  }
  for (const handout of all) handout.feedEndAt = feedEnds.get(handout.op) ?? Number.POSITIVE_INFINITY;
  const strangers = joinSettlements(history, handouts);

  const cursors = new Map<string, CursorJournal>();
  for (const handout of all) {
    const { declared: subscription, cursor, position } = handout;
    const key = keyOf(subscription.subscription, cursor);
    const journal = cursors.get(key) ?? { declared: subscription, cursor, events: new Map<number, Handout[]>() };
    cursors.set(key, journal);
    const event = journal.events.get(position);
    if (event === undefined) journal.events.set(position, [handout]);
    else event.push(handout);
  }
  for (const { events } of cursors.values())
    for (const list of events.values()) list.sort((a, b) => a.claimedAt - b.claimedAt);
  return {
    declared: [...declared.values()],
    cursors: [...cursors.values()],
    unseen: (subscription, consumer) => unseen.get(keyOf(subscription, consumer ?? "")) ?? [],
    signsOfLife: (subscription, consumer) => signs.get(keyOf(subscription, consumer)) ?? [],
    removals: (subscription, consumer) => removals.get(keyOf(subscription, consumer)) ?? [],
    strangers,
  };
}

/** Enters each attempt with every handout of its token. What was declined has done nothing, and is left out. */
function joinSettlements(history: readonly Entry[], handouts: ReadonlyMap<string, Handout[]>): Settlement[] {
  const answers = new Map(
    history.flatMap((entry) => (entry.kind === "settling-answered" ? [[entry.op, entry] as const] : [])),
  );
  const strangers: Settlement[] = [];
  for (const entry of history) {
    if (entry.kind !== "settling") continue;
    const answer = answers.get(entry.op);
    const { op, action, consumer, delayMs, extensionMs, reason } = entry;
    if (answer !== undefined && answer.status !== null && answer.status !== 200) {
      if (answer.status < 500 || declining.has(answer.reason ?? "")) continue;
    }
    for (const [i, token] of entry.tokens.entries()) {
      const settlement: Settlement = {
        ...{ op, action, consumer, delayMs, extensionMs, reason, invokedAt: entry.at },
        answeredAt: answer?.at ?? Number.POSITIVE_INFINITY,
        result: answer?.status === 200 ? (answer.results[i] ?? "missing") : null,
        deadline: answer?.deadline ?? null,
      };
      const given = handouts.get(token) ?? [];
      for (const handout of given) handout.settlements.push(settlement);
      if (given.length === 0) strangers.push(settlement);
    }
  }
  return strangers;
}

const ending = new Set<SettlingAction>(["ack", "drop", "dead-letter"]);

/** It settled the event for good, or may have. */
export const mayEnd = ({ action, result }: Settlement) =>
  ending.has(action) && (result === null || result === "settled");
export const didEnd = ({ action, result }: Settlement) => ending.has(action) && result === "settled";
/** It gave the event back for another try, or may have. */
export const mayReturn = ({ action, result }: Settlement) =>
  action === "requeue" && (result === null || result === "settled");
/** The answer says that the token was valid. */
export const wasValid = ({ result }: Settlement) => result === "settled" || result === "extended";

export const nameOf = (handout: Handout) =>
  `${handout.declared.subscription}${handout.cursor === "" ? "" : ` of ${handout.cursor}`} position ${handout.position} ` +
  `(${handout.token} of ${handout.consumer}, attempt ${handout.attempt}, at ${Math.round(handout.claimedAt)} ms)`;
