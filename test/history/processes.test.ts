// The checks of commands, deciders, projections and the outbox find what they are for, and nothing in a run that is right.
import { describe, expect, test } from "bun:test";
import { somethingWasProved } from "../crash/check/proved.ts";
import type { CommandAnswered, ModelRead, OutboxWritten } from "../crash/process-history.ts";
import { command, type Run, read, rightRun, runWith, violationsOf } from "./doctored-processes.ts";

function expectOne(run: Run, about: string): void {
  const violations = violationsOf(run);
  expect(violations.length).toBeGreaterThan(0);
  expect(violations.join("\n")).toContain(about);
}

const answerOf = ({ history }: Run, op: number) =>
  history.find((entry) => entry.kind === "command-answered" && entry.op === op) as CommandAnswered;
const lastRead = ({ history }: Run) => history.at(-1) as ModelRead;

test("a run in which everything is right has no violation", () => {
  expect(violationsOf(rightRun())).toEqual([]);
});

test("a run that has seen no fault, and no saga fail, has proved nothing", () => {
  const { history, snapshot } = rightRun();
  expect(somethingWasProved(history, snapshot)).toContain("the run has not seen a fault");
  expect(somethingWasProved(history, snapshot)).toContain("the run has not seen a saga that has Failed");
});

describe("commands", () => {
  test("that are acknowledged and missing, in part or altogether, are found", () => {
    const gone = rightRun();
    gone.history.push(...command(gone.snapshot.events, "gone", 400, { of: 1 }));
    expectOne(gone, "gone was acknowledged, and is missing");
    const torn = runWith((all) => all.filter(({ data }) => data.n !== 1));
    expectOne(torn, "two has its event 1 of 3 0 times");
  });
  test("that are there twice are found", () => {
    expectOne(
      runWith((all) => [...all, ...all.slice(0, 3)]),
      "two has its event 0 of 3 2 times",
    );
  });
  test("whose outcome nobody knows and that are torn are found", () => {
    const run = runWith((all) => [
      ...all,
      { stream: "notes-0", type: "Noted", data: { mark: "half", n: 0, of: 2, nonce: "y" } },
    ]);
    const unknown = { outcome: "unknown", status: null, answer: null } as const;
    run.history.push(...command(run.snapshot.events, "half", 400, { ...unknown, events: [] }));
    expectOne(run, "half has its event 1 of 2 0 times");
  });
  test("that were refused and are visible are found", () => {
    const run = runWith((all) => [
      ...all,
      { stream: "notes-0", type: "Noted", data: { mark: "no", n: 0, of: 2, nonce: "y" } },
    ]);
    expectOne(run, "no was refused, and notes-0 2 (0) is there");
  });
  test("whose events stand out of order are found", () => {
    expectOne(
      runWith(([first, second, third, ...others]) => [third, second, first, ...others] as never),
      "two has its events in notes-0 out of order",
    );
  });
  test("that nobody asked for are found", () => {
    const run = runWith((all) => [
      ...all,
      { stream: "notes-0", type: "Noted", data: { mark: "who", n: 0, of: 1, nonce: "y" } },
    ]);
    expectOne(run, "nobody asked for who");
  });
  test("whose key has two answers, or is refused after it was acknowledged, are found", () => {
    const two = rightRun();
    answerOf(two, 5).answer = "201 something else";
    expectOne(two, "two was answered in 2 ways");
    const late = rightRun();
    Object.assign(answerOf(late, 5), { outcome: "refused", answer: null, events: [] });
    expectOne(late, "two was acknowledged at 2 ms, and refused when it was asked at 5 ms");
  });
  test("that are told other places, or the result of another call, are found", () => {
    const place = rightRun();
    (answerOf(place, 10).events[0] as { offset: number }).offset = 7;
    expectOne(place, "deposit was told account-a 7");
    const call = rightRun();
    answerOf(call, 1).nonce = "another";
    expectOne(call, "two was told the result of another call");
  });
  test("that stand before what ended before they began are found", () => {
    const run = rightRun();
    const events = run.snapshot.events;
    run.history = run.history.filter((entry) => !("op" in entry && (entry.op === 10 || entry.op === 100)));
    run.history.push(...command(events, "withdrawal", 60), ...command(events, "deposit", 80));
    expectOne(run, "withdrawal ended before deposit began, and stands behind it in account-a");
  });
});

describe("deciders", () => {
  const changed = (mark: string, change: Record<string, unknown>) =>
    runWith((all) => all.map((one) => (one.data.mark === mark ? { ...one, data: { ...one.data, ...change } } : one)));
  test("that decide on a state that was not there are found", () => {
    expectOne(changed("withdrawal", { before: 100 }), "was decided on a balance of 100, and it was 80");
  });
  test("that go below zero, or above the limit, are found", () => {
    expectOne(changed("withdrawal", { amount: 81 }), "makes the balance -1");
    expectOne(changed("deposit", { amount: 501 }), "above 500");
  });
  test("that end what is not held are found", () => {
    expectOne(changed("saga p settle", { by: "nobody" }), "ends what is not held");
  });
  test("that refuse on a balance that was not there at the time are found", () => {
    const run = rightRun();
    // It was there before the deposit only, which had been acknowledged.
    answerOf(run, 20).balance = 0;
    expectOne(run, "too-much was refused at a balance of 0");
  });
  test("whose stream has a gap are found", () => {
    const run = rightRun();
    const last = run.snapshot.events.findLast(({ stream }) => stream === "account-a") as { offset: number };
    last.offset++;
    expectOne(run, "is its event 5");
  });
});

describe("projections", () => {
  test("that miss an event, count one twice, or fold out of order are found", () => {
    for (const change of [{ events: 1 }, { events: 3 }, { checksum: 5 }]) {
      const run = rightRun();
      Object.assign(lastRead(run).rows.find(({ key }) => key === "notes-0") as object, change);
      expectOne(run, "has of notes-0");
    }
  });
  test("that answer more than their position says are found", () => {
    const run = rightRun();
    lastRead(run).position--;
    expectOne(run, "stream-tally at position");
  });
  test("that go back are found", () => {
    const run = rightRun();
    run.history.push(read(run.snapshot.events, 4, 500));
    expectOne(run, "stream-tally was read as of 4");
  });
  test("that are behind, or have counted an event twice, are found", () => {
    const [behind, twice] = [rightRun(), rightRun()];
    Object.assign(behind.snapshot.models[0] as object, { lag: 3 });
    expectOne(behind, "stream-tally has a lag of 3");
    Object.assign(twice.snapshot.models[0] as object, { eventsProcessed: twice.snapshot.events.length + 1 });
    expectOne(twice, "stream-tally has counted");
  });
});

describe("rows of the outbox", () => {
  test("that were committed and are missing, or there twice, are found", () => {
    expectOne(
      runWith((all) => all.filter(({ data }) => data.mark !== "w-1/0")),
      "w-1/0 was committed, and is there 0 times",
    );
    expectOne(
      runWith((all) => [...all, ...all.slice(-1)]),
      "w-1/0 was committed, and is there 2 times",
    );
  });
  test("that were rolled back and are there are found", () => {
    const run = runWith((all) => [...all, { stream: "outbox-0", type: "Written", data: { mark: "w-2/0" } }]);
    expectOne(run, "w-2/0 was not committed, and is there 1 times");
  });
  test("that were said to be committed, and are not in the table of their writer, are found", () => {
    const run = rightRun();
    const ended = run.history.find((entry) => entry.kind === "outbox-written" && entry.tx === 2) as OutboxWritten;
    ended.outcome = "committed";
    expectOne(run, "w-2/0 was committed, and is not in the table of its writer");
  });
  test("that stand out of order are found", () => {
    expectOne(
      runWith((all) => [...all.slice(0, -3), ...all.slice(-3).reverse()]),
      "w's transaction 0 ended before w's transaction 1 began, and stands behind it in outbox-0",
    );
    const within = rightRun();
    for (const entry of within.history) {
      if (entry.kind !== "outbox-writing" || entry.tx !== 0) continue;
      entry.rows = [{ mark: "w-1/0", stream: "outbox-0", isDoomed: false }, ...entry.rows];
    }
    expectOne(within, "transaction 0 stands in outbox-0 out of order");
  });
  test("that still wait, were set aside without a reason, or are gone are found", () => {
    const waiting = rightRun();
    waiting.snapshot.waiting.push({ mark: "w-1/0", failure: null });
    expectOne(waiting, "w-1/0 still waits");
    const aside = rightRun();
    aside.snapshot.waiting.push({ mark: "w-1/0", failure: "no" });
    expectOne(aside, "w-1/0 was set aside: no");
    const gone = rightRun();
    gone.snapshot.waiting = [];
    expectOne(gone, "w-3/0 cannot become an event, and is gone");
  });
});
