// The checks of invariants 6, 7 and 9 find what they are for, and nothing in a journal that is right.
import { describe, expect, test } from "bun:test";
import type { Entry } from "../crash/history.ts";
import { acknowledged, append } from "./doctored.ts";
import {
  crashed,
  dead,
  fed,
  handed,
  job,
  operated,
  sampled,
  settled,
  subscribed,
  unanswered,
  violationsOf,
} from "./doctored-ledger.ts";

const sub = subscribed();
const one = [job(0)];
const two = [job(0), job(1)];
const check = (history: Entry[], events = one, ledger = {}) => violationsOf(sub, history, { events, ...ledger });
const expectOne = (violations: string[], about: string) => {
  expect(violations.length).toBeGreaterThan(0);
  expect(violations[0]).toContain(about);
};
const again = { attempt: 2, consumer: "b" };

describe("what is delivered", () => {
  test("and settled once is in order", () => {
    expect(check([...handed([0, 1], 100), ...settled(["0@100", "1@100"], 200)], two)).toEqual([]);
    expect(check([...handed([0, 1], 100), ...settled(["0@100", "1@100"], 200), sampled(2, 210)], two)).toEqual([]);
  });
  test("and whose settlement has no answer may be settled", () => {
    expect(check([...handed(0, 100), ...settled("0@100", 200, { status: null })])).toEqual([]);
  });
  test("but never settled, or never delivered, is found", () => {
    expectOne(check(handed(0, 100)), "handed out 1 times and is not settled");
    expectOne(check([]), "handed out 0 times and is not settled");
    expectOne(check([...handed(0, 100), ...settled("0@100", 200, { result: "stale" })]), "is not settled");
    const back = settled("0@100", 200, { action: "requeue" });
    expectOne(check([...handed(0, 100), ...back]), "is not settled");
    const declined = settled("0@100", 200, { status: 503 }).map((entry) => ({
      ...entry,
      reason: "storage-unavailable",
    }));
    expectOne(check([...handed(0, 100), ...(declined as Entry[])]), "is not settled");
  });
  test("is the event as it is stored, or is found", () => {
    const end = settled("0@100", 200);
    expectOne(check([...handed(0, 100, { hash: "other" }), ...end]), "not the event as it is stored");
    const typed = subscribed({ types: ["Closed"] });
    expectOne(violationsOf(typed, [...handed(0, 100), ...end], { events: one }), "does not belong");
  });
  test("of each consumer of a broadcast, or is found", () => {
    const broadcast = subscribed({ mode: "broadcast" });
    const cursor = { subscription: "sub", place: 10, floor: 11, leased: 0, waiting: 0, parked: 0 };
    const cursors = ["a", "b"].map((consumer) => ({ ...cursor, consumer }));
    const a = [...handed(0, 100, { token: "a" }), ...settled("a", 200)];
    const b = [...handed(0, 100, { token: "b", consumer: "b" }), ...settled("b", 200)];
    expect(violationsOf(broadcast, [...a, ...b], { events: one, cursors })).toEqual([]);
    expectOne(violationsOf(broadcast, a, { events: one, cursors }), "sub of b position 0");
  });
  test("after an append that was acknowledged and is not there is found", () => {
    expectOne(
      check([...acknowledged("m", 0), ...handed(0, 100), ...settled("0@100", 200)], [job(0, { offset: 3 })]),
      "is missing",
    );
    expect(check([...append("m"), ...handed(0, 100), ...settled("0@100", 200)])).toEqual([]);
  });
  test("for the first time after later events is found, unless somebody had given up", () => {
    const history = [...handed(1, 100), ...handed(0, 200), ...settled(["1@100", "0@200"], 250)];
    expectOne(check(history, two), "came for the first time after");
    expect(check([...unanswered(90, 95, "b"), ...history], two)).toEqual([]);
  });
  test("beyond the consumer's credit is found", () => {
    const history = [...handed(0, 100), ...handed(1, 200), ...settled(["0@100", "1@200"], 300)];
    const small = subscribed({ maxInFlight: 1 });
    expectOne(violationsOf(small, history, { events: two }), "2th that its consumer holds, of 1");
    const inTurn = [...handed(0, 100), ...settled("0@100", 150), ...handed(1, 200), ...settled("1@200", 300)];
    expect(violationsOf(small, inTurn, { events: two })).toEqual([]);
  });
});

describe("a floor", () => {
  const history = [...handed([0, 1], 100), ...settled("0@100", 200), ...settled("1@100", 300)];
  test("that has passed what was settled is in order", () => {
    expect(check([...history, sampled(1, 250), sampled(2, 310)], two)).toEqual([]);
  });
  test("that has passed what was not settled is found, and so is a stream that has forgotten it", () => {
    expectOne(check([...history, sampled(2, 250)], two), "passed position 1");
    const forgetting = sampled(0, 250, { firstOffsets: [{ stream: "s", firstOffset: 2 }] });
    expectOne(check([...history, forgetting], two), "what s has forgotten passed position 1");
  });
});

describe("an event", () => {
  test("that comes again after its time, after it was given back, or when its reader has gone is in order", () => {
    const end = settled("0@1200", 1_300);
    expect(check([...handed(0, 100), ...handed(0, 1_200, again), ...end])).toEqual([]);
    const back = settled("0@100", 200, { action: "requeue", delayMs: 300 });
    expect(check([...handed(0, 100), ...back, ...handed(0, 600, again), ...settled("0@600", 700)])).toEqual([]);
    expect(check([...fed(0, 100, 300), ...handed(0, 310, again), ...settled("0@310", 400)])).toEqual([]);
    const shortened = settled("0@100", 200, { action: "extend", extensionMs: 100, deadline: 300 });
    expect(check([...handed(0, 100), ...shortened, ...handed(0, 310, again), ...settled("0@310", 400)])).toEqual([]);
  });
  test("that is handed out while it is held is found", () => {
    const end = settled("0@500", 700);
    expectOne(check([...handed(0, 100), ...handed(0, 500, again), ...end]), "was handed out while");
    const back = settled("0@100", 200, { action: "requeue", delayMs: 800 });
    expectOne(check([...handed(0, 100), ...back, ...handed(0, 500, again), ...end]), "was handed out while");
    expectOne(check([...fed(0, 100, 900), ...handed(0, 500, again), ...end]), "was handed out while");
    const longer = settled("0@100", 900, { action: "extend", extensionMs: 5_000, deadline: 5_900 });
    const late = [...handed(0, 1_200, again), ...settled("0@1200", 1_300)];
    expectOne(check([...handed(0, 100), ...longer, ...late]), "was handed out while");
  });
  test("of a consumer that fell silent goes to another before its deadline, of one that was heard of it does not", () => {
    const impatient = subscribed({ consumerTimeoutMs: 400 });
    const history = [...handed(0, 100), ...handed(0, 700, again), ...settled("0@700", 750)];
    expect(violationsOf(impatient, history, { events: one })).toEqual([]);
    const heard = [200, 400, 600, 800].flatMap((at) => handed([], at));
    const [first, second] = [history.slice(0, 2), history.slice(2)];
    expectOne(violationsOf(impatient, [...first, ...heard, ...second], { events: one }), "was handed out while");
  });
  test("of a consumer that was removed goes to another at once", () => {
    const gone = operated("remove-consumer", 300, { consumer: "a" });
    const other = [...handed(0, 310, again), ...settled("0@310", 400)];
    expect(check([...handed(0, 100), gone, ...other])).toEqual([]);
    expectOne(check([...handed(0, 100), { ...gone, consumer: "b" }, ...other]), "was handed out while");
    expectOne(check([...handed(0, 100), { ...gone, status: 404 }, ...other]), "was handed out while");
  });
  test("that is handed out while its subscription is paused is found", () => {
    const [pause, resume] = [operated("pause", 50), operated("resume", 150)];
    const history = (at: number) => [pause, resume, ...handed(0, at), ...settled(`0@${at}`, 300)];
    expect(check(history(40))).toEqual([]);
    expect(check(history(160))).toEqual([]);
    expectOne(check(history(100)), "though it was paused");
  });
  test("whose failed attempt is not counted is found", () => {
    const end = settled("0@1200", 1_300);
    expectOne(check([...handed(0, 100), ...handed(0, 1_200, { consumer: "b" }), ...end]), "attempt is not counted");
  });
  test("that is settled twice, or comes again after it was settled, is found", () => {
    const twice = [...handed(0, 100), ...settled("0@100", 200), ...settled("0@100", 300)];
    expectOne(check(twice), "was settled a second time");
    expectOne(check([...twice.slice(0, 4), ...handed(0, 1_300, again)]), "was valid at");
    const back = settled("0@100", 200, { action: "requeue" });
    const ends = [...handed(0, 300, again), ...settled("0@300", 400)];
    expectOne(check([...handed(0, 100), ...back, ...back, ...ends]), "was given back 2 times");
  });
  test("whose old token settles it is found", () => {
    const history = [...handed(0, 100), ...handed(0, 1_200, again), ...settled("0@100", 1_300)];
    expect(check(history).join()).toContain("after its deadline");
    expect(check(history).join()).toContain("was valid at");
    const stranger = [...handed(0, 100), ...settled("0@100", 200), ...settled("made-up", 300)];
    expectOne(check(stranger), "a token that nobody was given");
    const liar = [...handed(0, 100), ...settled("0@100", 200, { consumer: "b" })];
    expectOne(check(liar), "for b");
  });
  test("whose holder is told that the token is stale, or settled, is found", () => {
    const stale = settled("0@100", 200, { result: "stale" });
    expectOne(check([...handed(0, 100), ...stale, ...settled("0@100", 300)]), "to be stale");
    const already = settled("0@100", 200, { result: "already-settled" });
    expectOne(check([...handed(0, 100), ...already, ...settled("0@100", 300)]), "to be settled already");
    const late = [...handed(0, 100), ...settled("0@100", 1_150, { result: "stale" })];
    expect(check([...late, ...handed(0, 1_200, again), ...settled("0@1200", 1_300)])).toEqual([]);
  });
  test("that is given away comes once, or is found", () => {
    const loose = subscribed({ delivery: "at-most-once" });
    const given = (at: number) => handed(0, at, { token: "settled", deadline: null });
    expect(violationsOf(loose, given(100), { events: one })).toEqual([]);
    expectOne(violationsOf(loose, [...given(100), ...given(5_000)], { events: one }), "came a second time");
  });
});

describe("a claim that a crash has forgotten", () => {
  const lost = [...handed(0, 100), crashed(150), ...handed(0, 300, { consumer: "b" }), ...settled("0@300", 400)];
  test("may be handed out anew, and its token is stale", () => {
    expect(check([...lost, ...settled("0@100", 500, { result: "stale" })])).toEqual([]);
  });
  test("must be remembered when something later was acknowledged before the crash", () => {
    const known = [...handed(1, 90), ...settled("1@90", 120)];
    expect(check([...known, ...lost], two).join()).toContain("was handed out while");
  });
  test("is none when it was handed out long after", () => {
    const after = [crashed(50), sampled(0, 80, { startedAt: 60 }), ...handed(0, 100), ...handed(0, 300, again)];
    expectOne(check([...after, ...settled("0@300", 400)]), "was handed out while");
  });
});

describe("a dead letter", () => {
  const rejected = [...handed(0, 100), ...settled("0@100", 200, { action: "dead-letter", reason: "no" })];
  const letter = dead(0, 201, { reason: "rejected", attempts: 1, firstError: "no", lastError: "no" });
  test("of what was rejected, or given back too often, is in order", () => {
    expect(check(rejected, one, { deadLetters: [letter] })).toEqual([]);
    const tries = [1, 2, 3].flatMap((attempt) => handed(0, attempt * 1_100, { attempt }));
    expect(check(tries, one, { deadLetters: [dead(0, 4_500)] })).toEqual([]);
  });
  test("that is missing is found", () => {
    expectOne(check(rejected), "is no dead letter");
    const last = [...handed(0, 100, { attempt: 3 }), ...settled("0@100", 200, { action: "requeue" })];
    expect(check(last).join()).toContain("is no dead letter");
  });
  test("that has another content, reason or number of attempts is found", () => {
    const wrong = (given: object) => check(rejected, one, { deadLetters: [{ ...letter, ...given }] });
    expectOne(wrong({ hash: "other" }), "another content");
    expectOne(wrong({ lastError: "yes" }), "which nobody gave");
    expectOne(wrong({ reason: "max-attempts" }), "given up after 1 of 3");
    expectOne(wrong({ attempts: 4 }), "counts 4 of 3");
    expectOne(wrong({ attempts: 0 }), "attempt 1 was handed out");
    expectOne(wrong({ deadAt: 100 }), "times that run back");
    const requeued = [...handed(0, 100), ...settled("0@100", 200, { action: "requeue", reason: "no" })];
    expectOne(check(requeued, one, { deadLetters: [letter] }), "was rejected by nobody");
  });
  test("of what was settled, and a try beyond the last, are found", () => {
    const both = [...handed(0, 100), ...settled("0@100", 200)];
    expect(check(both, one, { deadLetters: [dead(0, 4_500)] }).join()).toContain("was settled");
    const beyond = [...handed(0, 100, { attempt: 4 }), ...settled("0@100", 200)];
    expectOne(check(beyond), "beyond the last attempt");
  });
});
