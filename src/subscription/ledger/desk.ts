// Hands out the events of one cursor to those who wait at it: concurrent claims travel together, as appends do.
import { setImmediate } from "node:timers";
import { type Problem, subscriptionNotFound } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { pause } from "../../base/pause.ts";
import { isOutage } from "../../storage/pg-errors.ts";
import type { Removals } from "../../stream/event.ts";
import { type Subscription, selectionOf } from "../registry/subscription.ts";
import type { CandidateReader, Candidates, ReadAt } from "./candidates.ts";
import type { Delivery, Handout, Rest } from "./delivery.ts";
import type { ClaimCall, ClaimOutcome, Portion } from "./delivery-claim.ts";
import { createEnding } from "./ending.ts";
import type { Endings } from "./endings.ts";
import { keyHash } from "./key-hash.ts";
import { createReadAhead, first } from "./read-ahead.ts";
import { settledToken, type Tokens, tokenOf } from "./token.ts";
import { createGroupWindow, type Stop } from "./window.ts";

/** One consumer that wants events. */
export type Claim = {
  consumer: string;
  max: number;
  visibilityTimeoutMs: number;
  /** The events are given away for good, settled before they are sent, as far as the subscription allows. */
  autoAcknowledge: boolean;
  /** Answered with nothing as soon as there is nothing, instead of waiting. */
  impatient: boolean;
  resolve: (handout: Handout) => void;
  reject: (error: unknown) => void;
};

export type DeskOptions = {
  cursor: number;
  candidates: CandidateReader;
  tokens: Tokens;
  call: (call: ClaimCall) => Promise<ClaimOutcome>;
  endings: Pick<Endings, "note" | "isNoted" | "complete" | "review">;
  /** The subscription as it is configured now; null when there is none any more. */
  reload: () => Promise<Subscription | null>;
  /** The last position that is committed. */
  readHead: () => Promise<number>;
  head: () => number;
  /** Settles what is gone from the log, and puts back what nobody is there to take. */
  settle: (tokens: string[]) => void;
  putBack: (leases: Handout["leases"]) => Promise<void>;
  /** Puts back the rest of what a step handed out. */
  putBackRest: (step: number, rest: readonly Rest[]) => Promise<void>;
  /** Tells other processes that their consumers have something to claim. */
  announce: () => void;
  /** Takes the slots of a member away that takes nothing; whether it was so. */
  setAside: (member: string, at: number) => Promise<boolean>;
  /** Events that may wait for members of a group that do not take them. */
  groupWindow: number;
  /** Bytes that may be read ahead, as long as all desks together have room. */
  mayReadAhead: () => boolean;
  /** Bytes of a group's events that are kept for members who take them later; others are read again. */
  keptBytes: number;
  log: Log;
};

/** A claim in the queue. */
type Waiting = Claim & {
  /** In which round over all claims it was asked for last. */
  asked: number;
  /** How many calls have handed out something to others, and nothing to this one. */
  inVain: number;
  /** As of its last call: what the subscription promises may change while it waits. */
  leased: boolean;
};

/** Events of one call at most, and claims. */
const maxEvents = 1_000;
const maxClaims = 64;
/**
 * Calls that hand out something to others, but nothing to a claim that cannot wait: then there is nothing for it now. In a
 * group what is its may lie further back.
 */
const maxInVain = 2;
const maxInVainOfGroup = 8;
/** Time between two looks for what is due, in milliseconds: while there is other work, and while there is none. */
const busyLookMs = 250;
/** How long a call waits for more claims when the last one served several, in milliseconds. */
const collectMs = 1;
const idleLookMs = 5_000;
/** Time after which the cursor is moved over what does not match, in milliseconds. */
const advanceMs = 2_000;
const retryMs = 250;
const beginning = "-infinity";
/** Bytes read ahead up to which more is read for who wants more. */
const maxExtendedBytes = 2_000_000;
/** Events read at once where there is no room to read ahead. */
const minEvents = 100;
/** Candidates beyond what is wanted, in case another process has taken the first ones. */
const sparePositions = 50;
const nothingRead: ReadAt = { events: new Map(), unread: new Map() };
const nothing: Candidates = { after: -1, upTo: -1, events: [] };

export type Desk = ReturnType<typeof createDesk>;

export function createDesk(options: DeskOptions, configured: Subscription) {
  const { cursor, candidates, tokens, call, endings, log } = options;
  let subscription = configured;
  const ending = createEnding(cursor, endings);
  ending.configure(subscription.terminal);
  let claims: Waiting[] = [];
  /** Counts the rounds over all claims: there may be more of them than a call takes, and the first ones may have no credit. */
  let pass = 1;
  /** Where the cursor stands, as far as is known; null before it was asked. */
  let place: number | null = null;
  const ahead = createReadAhead();
  let firstSteps = new Map<string, number>();
  let firstDue = beginning;
  /** Something is due for another try, and nobody had credit for it. */
  let dueLeft = false;
  const window = createGroupWindow(options.groupWindow);
  /** How many candidates of a group it takes to serve those who ask, as far as the last calls tell. */
  let candidatesNeeded = maxEvents;
  /** Somebody new has asked, or has credit again. */
  let asked = false;
  let lookAt = 0;
  /** How often it was asked to look: what was asked during a call is not answered by it. */
  let looksWanted = 0;
  let advanceAt = 0;
  let running = false;
  let again = false;
  let timer: ReturnType<typeof setTimeout> | null = null;
  let usedAt = performance.now();
  let current: Promise<void> = Promise.resolve();
  const abort = new AbortController();

  const isGroup = () => subscription.mode === "consumer-group";

  /** What an exactly-once subscription hands out has to be settled by its consumer, also if it did not mean to. */
  function isLeased({ autoAcknowledge }: Claim): boolean {
    if (subscription.delivery === "exactly-once") return true;
    return subscription.delivery === "at-least-once" && !autoAcknowledge;
  }

  function lookNow(): void {
    lookAt = 0;
    firstDue = beginning;
  }

  function wake(): void {
    if (timer) clearTimeout(timer);
    timer = null;
    if (claims.length === 0 || abort.signal.aborted) return;
    again = true;
    if (running) return;
    running = true;
    // Claims that arrive in the same turn of the event loop travel together.
    current = new Promise((resolve) => setImmediate(() => resolve(run())));
  }

  async function run(): Promise<void> {
    try {
      while (again && claims.length > 0 && !abort.signal.aborted) {
        again = false;
        const before = claims.length;
        if (!(await round())) continue;
        again = true;
        const served = before - claims.length;
        // Those who were served come back about now, and travel together if the next call waits for them.
        if (served > 1 && claims.length < served) await pause(collectMs, abort.signal);
      }
    } catch (error) {
      if (isOutage(error)) {
        // Whoever cannot wait is told; the others wait for the database to come back.
        log.debug({ err: error, subscription: subscription.name }, "nothing can be handed out");
        fail(error, (claim) => claim.impatient);
        lookAt = 0;
        schedule(retryMs);
      } else if (!abort.signal.aborted) fail(error, () => true);
    }
    running = false;
    if (again) wake();
  }

  function fail(error: unknown, whom: (claim: Claim) => boolean): void {
    const failed = claims.filter(whom);
    claims = claims.filter((claim) => !whom(claim));
    for (const claim of failed) claim.reject(error);
  }

  function schedule(ms: number): void {
    if (timer) clearTimeout(timer);
    timer = setTimeout(wake, ms);
  }

  function wanted(): number {
    let sum = 0;
    for (const { max } of claims) sum += max;
    return Math.min(sum, maxEvents);
  }

  /** Looks at what lies behind what has been looked at already. */
  async function readOn(after: number, atLeast: number): Promise<void> {
    const limit = options.mayReadAhead() ? maxEvents : Math.max(1, Math.min(wanted(), minEvents));
    const next = ending.cut(await candidates.read(selectionOf(subscription), after, limit, atLeast, abort.signal));
    ahead.add(next);
  }

  /** What nobody has taken yet must not pile up. */
  function mayExtend(): boolean {
    return ahead.candidates()?.events.length === 0 || (ahead.aheadBytes() < maxExtendedBytes && options.mayReadAhead());
  }

  /** One call of the ledger. True when there may be more to hand out at once. */
  async function round(): Promise<boolean> {
    const now = performance.now();
    const isOver = place !== null && (await ending.isAt(place));
    if (isOver) ahead.drop();
    else if (place !== null) {
      const read = ahead.candidates();
      if (read === null || place >= read.upTo) await readOn(place, -1);
      else if (read.events.length < wanted() && read.upTo < options.head() && mayExtend() && !ending.closes(read))
        await readOn(read.upTo, -1);
    }
    const found = first(
      ahead.candidates() ?? nothing,
      isGroup() ? Math.max(wanted(), candidatesNeeded) : wanted() + sparePositions,
    );
    // At the end there is only what comes back, and the cursor may have been reset.
    const look = now >= lookAt || isOver;
    const lookWanted = looksWanted;
    const advance =
      place !== null && found.upTo > place && (now >= advanceAt || claims.some((claim) => claim.impatient));
    // In a group there may be something that came to wait when others asked.
    const owned = isGroup() && (asked || claims.some((claim) => claim.asked !== pass));
    if (place !== null && found.events.length === 0 && !look && !advance && !owned) return wait(found.upTo);
    const noted = await ending.note(found, subscription.revision);
    if (noted !== "ok") return refused(noted);
    asked = false;
    if (claims.every((claim) => claim.asked === pass)) pass++;
    const asking = claims.slice(0, maxClaims);
    for (const claim of asking) {
      claim.asked = pass;
      claim.leased = isLeased(claim);
    }
    const outcome = await call({
      cursor,
      revision: subscription.revision,
      candidates: { after: found.after, upTo: found.upTo, positions: found.events.map((event) => event.position) },
      claimants: asking.map((claim) => ({
        consumer: claim.consumer,
        want: Math.min(claim.max, maxEvents),
        timeoutMs: claim.visibilityTimeoutMs,
        leased: claim.leased,
        firstStep: firstSteps.get(claim.consumer) ?? 0,
      })),
      maxInFlight: subscription.maxInFlight,
      look,
      firstDue,
      group: isGroup()
        ? { keys: found.events.map(keyHash), window: window.size, waiting: window.waiting(), added: window.added() }
        : null,
    });
    if (outcome.status !== "ok") return refused(outcome.status);
    const before = place;
    place = outcome.place;
    advanceAt = now + advanceMs;
    const isOverdueLeft = look && noteLook(asking, outcome);
    if (lookWanted !== looksWanted) lookNow();
    const wasExact = look || window.added() === 0;
    window.add(outcome.added);
    ending.moved(found, place);
    noteNeeded(found, place);
    ahead.moveTo(place);
    for (const { claimant } of outcome.portions) {
      // What is not settled in time is handed out anew as soon as it is due.
      lookAt = Math.min(lookAt, now + (asking[claimant] as Claim).visibilityTimeoutMs + 2);
    }
    // What is given away without a lease is settled: nothing else will complete it.
    if (outcome.portions.some(({ claimant }) => !asking[claimant]?.leased) && (await ending.isAt(place)))
      await endings.review([cursor]);
    await hand(asking, outcome.step, outcome.portions);
    ahead.forgetPassed(isGroup() ? options.keptBytes : 0);
    passOver(asking, outcome.portions);
    if (outcome.others) options.announce();
    if (outcome.stopped !== null) {
      if (await isFreed(outcome.stopped, wasExact)) return true;
    } else if (place !== before) window.passed();
    if (before === null || outcome.portions.length > 0 || isOverdueLeft) return true;
    if (isOver && place === before) return finish();
    // What was looked through belongs to other members.
    if (place > before && found.events.length > 0) return true;
    // Somebody else has moved the cursor beyond what was read.
    if (place > found.upTo || place < found.after) return true;
    // Others may have credit.
    if ((found.events.length > 0 || dueLeft || isGroup()) && claims.some((claim) => claim.asked !== pass)) return true;
    // There is something, but nobody who asks may have it now.
    if (found.events.length > 0) return answerImpatient();
    return wait(Math.max(found.upTo, place));
  }

  /** Most of the candidates of a group may belong to others than those who ask; what is sent in vain costs as much. */
  function noteNeeded(found: Candidates, reached: number): void {
    const taken = found.events.findIndex((event) => event.position > reached);
    const isTooFew = taken === -1;
    candidatesNeeded = isTooFew ? candidatesNeeded * 1.5 : Math.max(taken * 1.2, candidatesNeeded * 0.9);
    candidatesNeeded = Math.min(Math.ceil(candidatesNeeded) + sparePositions, maxEvents);
  }

  /** Who got nothing is asked again behind those who have waited for longer; who cannot wait does not wait for the others either. */
  function passOver(asking: readonly Waiting[], portions: readonly Portion[]): void {
    const left = asking.filter((claim) => claims.includes(claim));
    const served = new Set(portions.map(({ claimant }) => asking[claimant]?.consumer));
    // Where all that there was is gone, it may be the next call's turn; and the claims of a member share what is the member's.
    const isLeftOver = isGroup() || (ahead.candidates()?.events.length ?? 0) > 0;
    const isPassedOver = ({ consumer }: Waiting) =>
      isLeftOver && served.size > 0 && !(isGroup() && served.has(consumer));
    for (const claim of left) if (isPassedOver(claim)) claim.inVain++;
    const most = isGroup() ? maxInVainOfGroup : maxInVain;
    const answered = left.filter((claim) => claim.impatient && claim.inVain >= most);
    claims = [...claims.filter((claim) => !left.includes(claim)), ...left.filter((claim) => !answered.includes(claim))];
    for (const claim of answered) claim.resolve({ deliveries: [], leases: [] });
  }

  /** True when more is overdue than one look takes back. */
  function noteLook(asking: readonly Waiting[], outcome: Extract<ClaimOutcome, { status: "ok" }>): boolean {
    if (outcome.looked === null) return false;
    const { firstSteps: steps, firstDue: due } = outcome.looked;
    window.looked(outcome.looked.waiting);
    // Those who ask no more are forgotten: a first step that is too low costs time only.
    firstSteps = new Map(asking.map((claim, i) => [claim.consumer, steps[i] as number]));
    if (due === beginning) {
      lookAt = 0;
      return true;
    }
    // What is entered from now on is due later than now, but for a clock that steps back.
    const slack = new Date(Date.parse(outcome.now) - 60_000).toISOString();
    const next = due === null || due === "infinity" ? null : due;
    firstDue = next === null || next > slack ? slack : next;
    dueLeft = next !== null && next <= outcome.now;
    const untilNextMs = next === null || dueLeft ? idleLookMs : Date.parse(next) - Date.parse(outcome.now) + 1;
    const soonestMs = outcome.portions.length > 0 ? busyLookMs : 1;
    lookAt = performance.now() + Math.max(Math.min(untilNextMs, idleLookMs), soonestMs);
    return false;
  }

  /** Somebody's share of the window is full. Whether the others can go on at once. */
  async function isFreed(stopped: Stop, isExact: boolean): Promise<boolean> {
    if (!isExact) {
      // It may only seem so.
      lookAt = 0;
      return true;
    }
    lookAt = Math.min(lookAt, performance.now() + busyLookMs);
    if (!window.stopped(stopped) || stopped.at === null) return false;
    window.passed();
    if (!(await options.setAside(stopped.member, stopped.at))) return false;
    log.warn(
      { subscription: subscription.name, consumer: stopped.member },
      "a member takes nothing, and its share of the window is full: its keys go to the others",
    );
    return true;
  }

  function refused(status: "gone" | "changed" | "paused" | "completed"): Promise<boolean> | boolean {
    if (status === "gone") {
      fail(subscriptionNotFound(subscription.name) satisfies Problem, () => true);
      return false;
    }
    if (status === "changed") return reload();
    if (status === "completed") return complete(() => true);
    lookAt = performance.now() + idleLookMs;
    return answerImpatient();
  }

  /** The terminal event was handed out: what is not settled yet may come back. */
  const finish = () => complete(() => answerImpatient(Number.POSITIVE_INFINITY));

  async function complete(otherwise: () => boolean): Promise<boolean> {
    if (!(await endings.complete(cursor))) return otherwise();
    for (const claim of claims.splice(0)) claim.resolve({ deliveries: [], leases: [], completed: true });
    return false;
  }

  async function reload(): Promise<boolean> {
    const found = await options.reload();
    if (found === null || found.id !== subscription.id) return refused("gone");
    subscription = found;
    ending.configure(found.terminal);
    ahead.drop();
    return true;
  }

  /** Everything up to here has been looked at: whoever cannot wait is answered, the others wait to be woken. */
  async function wait(scanned: number): Promise<boolean> {
    // A page without a match that ended before the head, by its bytes or its time: the next one may have some.
    if (!ahead.candidates()?.events.length && scanned < options.head()) return true;
    if (claims.some((claim) => claim.impatient)) {
      // Another process may have stored an event of which this one has not heard yet.
      const head = Math.max(options.head(), await options.readHead());
      if (head > scanned) {
        await readOn(scanned, head);
        return true;
      }
    }
    return answerImpatient();
  }

  function answerImpatient(at = place): boolean {
    // All have been asked: whatever comes next is for all of them.
    pass++;
    const answered = claims.filter((claim) => claim.impatient);
    claims = claims.filter((claim) => !claim.impatient);
    for (const claim of answered) claim.resolve({ deliveries: [], leases: [], ...(at === null ? {} : { place: at }) });
    if (claims.length > 0) schedule(Math.max(1, Math.min(lookAt - performance.now(), idleLookMs)));
    return false;
  }

  /** Gives each claimant its portion. */
  async function hand(asking: readonly Waiting[], step: number, portions: readonly Portion[]): Promise<void> {
    if (portions.length === 0) return;
    const missing = portions.flatMap((portion) => portion.positions.filter((position) => !ahead.has(position)));
    const { events, unread } = missing.length === 0 ? nothingRead : await readMissing(missing, step, portions);
    const unsent: Handout["leases"][number][] = [];
    const rests: Rest[] = [];
    for (const { claimant, part, positions, attempts, deadline } of portions) {
      const claim = asking[claimant] as Waiting;
      const prefix = claim.leased ? tokens.prefix({ subscription: subscription.id, cursor, step, part }) : null;
      const token = (position: number) => (prefix === null ? settledToken : tokenOf(prefix, position));
      const deliveries: Delivery[] = [];
      const gone: string[] = [];
      const rest: number[] = [];
      for (let i = 0; i < positions.length; i++) {
        const position = positions[i] as number;
        // Too much for one answer. In a group nothing may come before it.
        if (unread.has(position) || (isGroup() && rest.length > 0)) {
          rest.push(position);
          continue;
        }
        const event = ahead.take(position) ?? events.get(position);
        // Trimmed or deleted since: that settles it.
        if (event === undefined) gone.push(token(position));
        else
          deliveries.push({
            event,
            token: token(position),
            attempt: attempts[i] as number,
            deadline: claim.leased ? deadline : null,
          });
      }
      if (gone.length > 0 && claim.leased) options.settle(gone);
      const leases = claim.leased ? [{ step, part }] : [];
      const hasGivenUp = !claims.includes(claim);
      if (hasGivenUp) unsent.push(...leases);
      else if (deliveries.length > 0) {
        claims.splice(claims.indexOf(claim), 1);
        claim.resolve({ deliveries, leases });
        // Nothing was left for it: it is the first one to be asked again.
      } else if (rest.length > 0) claim.asked = 0;
      if (rest.length > 0 && !(hasGivenUp && claim.leased))
        rests.push(restOf(part, claim.leased, rest, events, unread));
    }
    const rest = rests.length === 0 ? null : options.putBackRest(step, rests);
    const done = unsent.length === 0 ? null : options.putBack(unsent);
    // Until then the ledger takes them to be with their member, and would hand out what comes after them.
    if (isGroup()) await done;
    await rest;
  }

  function restOf(
    part: number,
    leased: boolean,
    rest: number[],
    events: ReadAt["events"],
    unread: ReadAt["unread"],
  ): Rest {
    if (!isGroup()) return { part, leased, positions: rest, keys: null };
    const positions: number[] = [];
    const keys: number[] = [];
    for (const position of rest) {
      const event = ahead.peek(position) ?? events.get(position);
      const partitionKey = unread.get(position) ?? event?.partitionKey ?? null;
      // What was given away and is gone is settled; of a lease, the ledger knows the keys.
      if (!leased && event === undefined && !unread.has(position)) continue;
      positions.push(position);
      keys.push(keyHash({ partitionKey, position }));
    }
    return { part, leased, positions, keys };
  }

  async function readMissing(missing: number[], step: number, portions: readonly Portion[]): Promise<ReadAt> {
    try {
      return await candidates.readAt(missing);
    } catch (error) {
      const done = options.putBack(portions.map(({ part }) => ({ step, part })));
      if (isGroup()) await done;
      throw error;
    }
  }

  return {
    cursor,
    subscription: () => subscription,
    /** Takes its place in the queue; returns the way to give up. */
    push(claim: Claim): () => void {
      usedAt = performance.now();
      const waiting: Waiting = { ...claim, asked: 0, inVain: 0, leased: true };
      claims.push(waiting);
      asked = true;
      // Who had no credit for it has left it to whoever has.
      if (dueLeft) lookAt = 0;
      wake();
      return () => {
        claims = claims.filter((c) => c !== waiting);
      };
    },
    /** Something has come, was settled, was put back, or was configured. */
    wake,
    /** The same, after something was settled: consumers have credit again. */
    wakeWithCredit() {
      if (dueLeft) lookAt = 0;
      asked = true;
      wake();
    },
    /** The same, and what is due may have changed. */
    wakeToLook() {
      looksWanted++;
      lookNow();
      asked = true;
      wake();
    },
    /** Events of the log are gone: what of them was read ahead is not handed out. */
    remove(removals: Removals) {
      ahead.remove(removals);
    },
    isWaiting: () => claims.length > 0,
    waiting: () => claims.length,
    /** Answers everyone who waits with nothing. */
    dismiss() {
      for (const claim of claims.splice(0)) claim.resolve({ deliveries: [], leases: [] });
    },
    idleMs: () => (claims.length > 0 || running ? 0 : performance.now() - usedAt),
    aheadBytes: ahead.aheadBytes,
    passedBytes: ahead.passedBytes,
    forgetPassed: () => ahead.forgetPassed(0),
    /** How often a full share of the group's window has stopped it. */
    exhausted: window.exhausted,
    /** Turns everyone away, and waits for the call under way. */
    async stop(reason: unknown): Promise<void> {
      abort.abort(reason);
      if (timer) clearTimeout(timer);
      fail(reason, () => true);
      await current;
    },
  };
}
