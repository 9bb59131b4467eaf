// Hands out the events of one cursor to those who wait at it: concurrent claims travel together, as appends do.
import { setImmediate } from "node:timers";
import { type Problem, subscriptionNotFound } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { pause } from "../../base/pause.ts";
import { isOutage } from "../../storage/pg-errors.ts";
import type { Removals } from "../../stream/event.ts";
import { type Subscription, selectionOf } from "../registry/subscription.ts";
import type { CandidateReader, Candidates } from "./candidates.ts";
import { type Claim, createClaimQueue, type GiveUp, type Waiting } from "./claim-queue.ts";
import type { ClaimCall, ClaimOutcome } from "./delivery-claim.ts";
import { createEnding } from "./ending.ts";
import type { Endings } from "./endings.ts";
import { createHandOut, type HandOutOptions } from "./hand-out.ts";
import { keyHash } from "./key-hash.ts";
import { busyLookMs, createLooks, idleLookMs } from "./looks.ts";
import { createReadAhead, first } from "./read-ahead.ts";
import { createGroupWindow, type Stop } from "./window.ts";

export type DeskOptions = Omit<HandOutOptions, "queue" | "ahead" | "candidates"> & {
  candidates: CandidateReader;
  call: (call: ClaimCall) => Promise<ClaimOutcome>;
  endings: Pick<Endings, "note" | "isNoted" | "complete" | "review">;
  /** The subscription as it is configured now; null when there is none any more. */
  reload: () => Promise<Subscription | null>;
  /** The last position that is committed. */
  readHead: () => Promise<number>;
  head: () => number;
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

/** Events of one call at most, and claims. */
const maxEvents = 1_000;
const maxClaims = 64;
/** How long a call waits for more claims when the last one served several, in milliseconds. */
const collectMs = 1;
/** Time after which the cursor is moved over what does not match, in milliseconds. */
const advanceMs = 2_000;
const retryMs = 250;
/** Bytes read ahead up to which more is read for who wants more. */
const maxExtendedBytes = 2_000_000;
/** Events read at once where there is no room to read ahead. */
const minEvents = 100;
/** Candidates beyond what is wanted, in case another process has taken the first ones. */
const sparePositions = 50;
const nothing: Candidates = { after: -1, upTo: -1, events: [] };

export type Desk = ReturnType<typeof createDesk>;

export function createDesk(options: DeskOptions, configured: Subscription) {
  const { cursor, candidates, call, endings, log } = options;
  let subscription = configured;
  const ending = createEnding(cursor, endings);
  ending.configure(subscription.terminal);
  const queue = createClaimQueue();
  const looks = createLooks();
  /** Where the cursor stands, as far as is known; null before it was asked. */
  let place: number | null = null;
  const ahead = createReadAhead();
  const handOut = createHandOut({ ...options, queue, ahead });
  const window = createGroupWindow(options.groupWindow);
  /** How many candidates of a group it takes to serve those who ask, as far as the last calls tell. */
  let candidatesNeeded = maxEvents;
  /** Somebody new has asked, or has credit again. */
  let asked = false;
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

  function wake(): void {
    if (timer) clearTimeout(timer);
    timer = null;
    if (queue.count() === 0 || abort.signal.aborted) return;
    again = true;
    if (running) return;
    running = true;
    // Claims that arrive in the same turn of the event loop travel together.
    current = new Promise((resolve) => setImmediate(() => resolve(run())));
  }

  async function run(): Promise<void> {
    try {
      while (again && queue.count() > 0 && !abort.signal.aborted) {
        again = false;
        const before = queue.count();
        const isMore = await round();
        queue.returned();
        if (!isMore) continue;
        again = true;
        const served = before - queue.count();
        // Those who were served come back about now, and travel together if the next call waits for them.
        if (served > 1 && queue.count() < served) await pause(collectMs, abort.signal);
      }
    } catch (error) {
      if (isOutage(error)) {
        // Whoever cannot wait is told; the others wait for the database to come back.
        log.debug({ err: error, subscription: subscription.name }, "nothing can be handed out");
        queue.fail(error, (claim) => claim.impatient);
        looks.soon();
        schedule(retryMs);
      } else if (!abort.signal.aborted) queue.fail(error);
      queue.returned();
    }
    running = false;
    if (again) wake();
  }

  function schedule(ms: number): void {
    if (timer) clearTimeout(timer);
    timer = setTimeout(wake, ms);
  }

  const wanted = () => Math.min(queue.wanted(), maxEvents);

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
    const look = now >= looks.at() || isOver;
    const lookWanted = looks.wanted();
    const advance = place !== null && found.upTo > place && (now >= advanceAt || queue.isAnyImpatient());
    // In a group there may be something that came to wait when others asked.
    const owned = isGroup() && (asked || queue.isAnyLeft());
    if (place !== null && found.events.length === 0 && !look && !advance && !owned) return wait(found.upTo);
    const noted = await ending.note(found, subscription.revision);
    if (noted !== "ok") return refused(noted);
    asked = false;
    const asking = queue.ask(maxClaims);
    for (const claim of asking) claim.leased = isLeased(claim);
    const outcome = await call({
      cursor,
      revision: subscription.revision,
      candidates: { after: found.after, upTo: found.upTo, positions: found.events.map((event) => event.position) },
      claimants: asking.map((claim) => ({
        consumer: claim.consumer,
        want: Math.min(claim.max, maxEvents),
        timeoutMs: claim.visibilityTimeoutMs,
        leased: claim.leased,
        firstStep: looks.firstStep(claim.consumer),
      })),
      maxInFlight: subscription.maxInFlight,
      look,
      firstDue: looks.firstDue(),
      group: isGroup()
        ? { keys: found.events.map(keyHash), window: window.size, waiting: window.waiting(), added: window.added() }
        : null,
    });
    if (outcome.status !== "ok") return refused(outcome.status);
    const before = place;
    place = outcome.place;
    advanceAt = now + advanceMs;
    const isOverdueLeft = look && noteLook(asking, outcome);
    if (lookWanted !== looks.wanted()) looks.fromTheBeginning();
    const wasExact = look || window.added() === 0;
    window.add(outcome.added);
    ending.moved(found, place);
    noteNeeded(found, place);
    ahead.moveTo(place);
    const served = outcome.portions.map(({ claimant }) => asking[claimant] as Waiting);
    // What is not settled in time is handed out anew as soon as it is due.
    for (const claim of served) looks.notAfter(now + claim.visibilityTimeoutMs + 2);
    // What is given away without a lease is settled: nothing else will complete it.
    if (served.some((claim) => !claim.leased) && (await ending.isAt(place))) await endings.review([cursor]);
    await handOut(subscription, asking, outcome.step, outcome.portions);
    ahead.forgetPassed(isGroup() ? options.keptBytes : 0);
    const isLeftOver = isGroup() || (ahead.candidates()?.events.length ?? 0) > 0;
    queue.passOver(asking, served, isLeftOver, isGroup());
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
    if ((found.events.length > 0 || looks.isDueLeft() || isGroup()) && queue.isAnyLeft()) return true;
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

  /** True when more is overdue than one look takes back. */
  function noteLook(asking: readonly Waiting[], outcome: Extract<ClaimOutcome, { status: "ok" }>): boolean {
    if (outcome.looked !== null) window.looked(outcome.looked.waiting);
    return looks.found(
      asking.map((claim) => claim.consumer),
      outcome,
    );
  }

  /** Somebody's share of the window is full. Whether the others can go on at once. */
  async function isFreed(stopped: Stop, isExact: boolean): Promise<boolean> {
    if (!isExact) {
      // It may only seem so.
      looks.soon();
      return true;
    }
    looks.notAfter(performance.now() + busyLookMs);
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
      queue.fail(subscriptionNotFound(subscription.name) satisfies Problem);
      return false;
    }
    if (status === "changed") return reload();
    if (status === "completed") return complete(() => true);
    looks.postpone();
    return answerImpatient();
  }

  /** The terminal event was handed out: what is not settled yet may come back. */
  const finish = () => complete(() => answerImpatient(Number.POSITIVE_INFINITY));

  async function complete(otherwise: () => boolean): Promise<boolean> {
    if (!(await endings.complete(cursor))) return otherwise();
    queue.answerAll({ deliveries: [], leases: [], completed: true });
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
    if (queue.isAnyImpatient()) {
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
    queue.passed();
    queue.answerImpatient({ deliveries: [], leases: [], ...(at === null ? {} : { place: at }) });
    if (queue.count() > 0) schedule(Math.max(1, Math.min(looks.at() - performance.now(), idleLookMs)));
    return false;
  }

  return {
    cursor,
    subscription: () => subscription,
    /** Takes its place in the queue; returns the way to give up. */
    push(claim: Claim): GiveUp {
      usedAt = performance.now();
      const giveUp = queue.push(claim);
      asked = true;
      // Who had no credit for it has left it to whoever has.
      if (looks.isDueLeft()) looks.soon();
      wake();
      return giveUp;
    },
    /** Something has come, was settled, was put back, or was configured. */
    wake,
    /** The same, after something was settled: consumers have credit again. */
    wakeWithCredit() {
      if (looks.isDueLeft()) looks.soon();
      asked = true;
      wake();
    },
    /** The same, and what is due may have changed. */
    wakeToLook() {
      looks.want();
      asked = true;
      wake();
    },
    /** Events of the log are gone: what of them was read ahead is not handed out. */
    remove(removals: Removals) {
      ahead.remove(removals);
    },
    isWaiting: () => queue.count() > 0,
    waiting: queue.count,
    /** Answers everyone who waits with nothing. */
    dismiss: queue.dismiss,
    idleMs: () => (queue.count() > 0 || running ? 0 : performance.now() - usedAt),
    aheadBytes: ahead.aheadBytes,
    passedBytes: ahead.passedBytes,
    forgetPassed: () => ahead.forgetPassed(0),
    /** How often a full share of the group's window has stopped it. */
    exhausted: window.exhausted,
    /** Turns everyone away, and waits for the call under way. */
    async stop(reason: unknown): Promise<void> {
      abort.abort(reason);
      if (timer) clearTimeout(timer);
      queue.fail(reason);
      await current;
    },
  };
}
