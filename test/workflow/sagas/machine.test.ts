// The state machine of sagas: whatever happens in whatever order, it ends as it must, and undoes what it has done.
import { expect, test } from "bun:test";
import fc from "fast-check";
import { type Action, actionOf, advance, type Input, type Transition } from "../../../src/workflow/sagas/machine.ts";
import { isEnded, notStarted, type Progress, type StepShape } from "../../../src/workflow/sagas/progress.ts";

const retry = (attempts: number) => ({ attempts, initialMs: 100, factor: 2, maxMs: 1_000 });
const shape = (name: string, kind: StepShape["kind"], compensates: boolean, attempts = 1): StepShape => ({
  name,
  kind,
  retry: retry(attempts),
  compensation: compensates ? retry(attempts) : null,
});

/** What a driver of sagas would do, with a history of what it has seen. */
function drive(steps: readonly StepShape[], deadlineAt: number | null = null) {
  let progress: Progress = notStarted(deadlineAt);
  let now = 0;
  let looked = false;
  const told: Transition[] = [];
  const states: Progress[] = [progress];
  const feed = (input: Input) => {
    const before = progress;
    const step = advance(steps, progress, input, now);
    progress = step.progress;
    told.push(...step.transitions);
    states.push(progress);
    looked = input.kind === "not-there";
    return { before, after: progress, transitions: step.transitions };
  };
  const action = (): Action => actionOf(steps, progress, now, looked);
  return {
    feed,
    action,
    told,
    states,
    progress: () => progress,
    now: () => now,
    wait(ms: number) {
      now += ms;
      looked = false;
    },
  };
}
type Driver = ReturnType<typeof drive>;

/** Does what is to be done, as well as it can be done. Returns whether there was anything. */
function work(driver: Driver, outcome: "well" | "badly" | "for good"): boolean {
  const action = driver.action();
  switch (action.do) {
    case "rest":
      return false;
    case "start":
    case "tick":
      driver.feed({ kind: action.do });
      return true;
    case "begin":
      driver.feed({ kind: "begun", until: driver.now() + 500 });
      return true;
    case "look":
      driver.feed(outcome === "well" ? { kind: "done" } : { kind: "not-there", message: "nothing came" });
      return true;
    case "execute":
      driver.feed(
        outcome === "well" ? { kind: "done" } : { kind: "failed", message: "no", isFinal: outcome === "for good" },
      );
      return true;
    case "compensate":
      driver.feed(
        outcome === "well"
          ? { kind: "compensated" }
          : { kind: "compensation-failed", message: "no", isFinal: outcome === "for good" },
      );
      return true;
    default:
      return action satisfies never;
  }
}

/** Everything goes well from here on, and time passes. */
function finish(driver: Driver): void {
  if (driver.progress().paused) driver.feed({ kind: "resume" });
  for (let n = 0; n < 1_000 && !isEnded(driver.progress()); n++) if (!work(driver, "well")) driver.wait(100);
}

const stepsOf = fc
  .array(
    fc.record({
      kind: fc.constantFrom<StepShape["kind"]>("execute", "execute", "wait", "sleep"),
      compensates: fc.boolean(),
      attempts: fc.integer({ min: 1, max: 3 }),
    }),
    { minLength: 1, maxLength: 5 },
  )
  .map((list) => list.map(({ kind, compensates, attempts }, n) => shape(`step-${n}`, kind, compensates, attempts)));

type Happening = "well" | "badly" | "for good" | "wait" | "pause" | "resume" | "cancel" | "retry" | "stray";
const happenings = fc.array(
  fc.constantFrom<Happening>(
    "well",
    "well",
    "well",
    "badly",
    "for good",
    "wait",
    "pause",
    "resume",
    "resume",
    "cancel",
    "retry",
    "stray",
  ),
  { maxLength: 60 },
);
const deadlines = fc.option(fc.integer({ min: 0, max: 5_000 }), { nil: null });
const strays: Input[] = [
  { kind: "done" },
  { kind: "compensated" },
  { kind: "failed", message: "stray", isFinal: false },
  { kind: "compensation-failed", message: "stray", isFinal: true },
  { kind: "begun", until: 5 },
  { kind: "tick" },
  { kind: "start" },
  { kind: "not-there", message: "stray" },
];

function live(driver: Driver, list: readonly Happening[], withStrays = false): void {
  for (const [n, happening] of list.entries()) {
    if (happening === "wait") driver.wait(150);
    else if (happening === "pause" || happening === "resume" || happening === "cancel" || happening === "retry")
      driver.feed({ kind: happening });
    else if (happening === "stray") {
      if (withStrays) driver.feed(strays[n % strays.length] as Input);
    } else work(driver, happening);
  }
}
const names = (told: readonly Transition[], type: Transition["type"]) =>
  told.flatMap((transition) => (transition.type === type ? [transition.step as string] : []));
const runs = { numRuns: 2_000 };

test("a saga ends only in one of its three ends, and stays there", () => {
  fc.assert(
    fc.property(stepsOf, deadlines, happenings, happenings, (steps, deadline, list, after) => {
      const driver = drive(steps, deadline);
      live(driver, list);
      finish(driver);
      expect(["Completed", "Compensated", "Failed"]).toContain(driver.progress().state);
      const end = driver.progress();
      live(
        driver,
        after.filter((happening) => happening !== "retry"),
        true,
      );
      expect(driver.progress()).toEqual(end);
    }),
    runs,
  );
});

test("what was completed is compensated at most once each, in reverse, and nothing else is", () => {
  fc.assert(
    fc.property(stepsOf, deadlines, happenings, (steps, deadline, list) => {
      const driver = drive(steps, deadline);
      live(driver, list);
      finish(driver);
      const completed = names(driver.told, "step-completed");
      const compensated = names(driver.told, "step-compensated");
      const { state } = driver.progress();
      expect(completed).toEqual(steps.slice(0, completed.length).map(({ name }) => name));
      const due = completed.filter((name) => steps.find((step) => step.name === name)?.compensation !== null).reverse();
      // A prefix of what is due: in reverse, each once, none that was not completed.
      expect(compensated).toEqual(due.slice(0, compensated.length));
      expect(driver.progress().compensated).toEqual(compensated);
      if (state === "Compensated") expect(compensated).toEqual(due);
      if (state === "Completed") expect([completed.length, compensated]).toEqual([steps.length, []]);
      if (state === "Failed") {
        expect([...driver.progress().undone]).toEqual(due.slice(compensated.length));
        expect(due.length).toBeGreaterThan(compensated.length);
      }
    }),
    runs,
  );
});

test("progress never goes back", () => {
  const rank = { NotStarted: 0, Running: 1, Completed: 3, Compensating: 2, Compensated: 3, Failed: 3 };
  fc.assert(
    fc.property(stepsOf, deadlines, happenings, (steps, deadline, list) => {
      const driver = drive(steps, deadline);
      live(driver, list, true);
      for (const [n, next] of driver.states.entries()) {
        const before = driver.states[n - 1];
        if (before === undefined) continue;
        expect(next.completed.slice(0, before.completed.length)).toEqual([...before.completed]);
        expect(next.compensated.slice(0, before.compensated.length)).toEqual([...before.compensated]);
        if (before.state === "Compensating" || before.state === "Failed")
          expect(next.completed).toEqual(before.completed);
        const isRetried = before.state === "Failed" && next.state === "Compensating";
        if (!isRetried) expect(rank[next.state]).toBeGreaterThanOrEqual(rank[before.state]);
        if (before.state === "Compensating") expect(next.remaining).toBeLessThanOrEqual(before.remaining);
      }
    }),
    runs,
  );
});

test("what is cancelled anywhere is compensated or has failed in the end", () => {
  fc.assert(
    fc.property(stepsOf, happenings, happenings, (steps, list, after) => {
      const driver = drive(steps);
      live(driver, list);
      fc.pre(!isEnded(driver.progress()));
      driver.feed({ kind: "cancel" });
      live(driver, after);
      finish(driver);
      expect(["Compensated", "Failed"]).toContain(driver.progress().state);
    }),
    runs,
  );
});

test("a paused saga begins nothing, and goes on where it was", () => {
  fc.assert(
    fc.property(stepsOf, deadlines, happenings, (steps, deadline, list) => {
      const driver = drive(steps, deadline);
      live(driver, list);
      fc.pre(!isEnded(driver.progress()) && !driver.progress().paused);
      const underWay = driver.action();
      driver.feed({ kind: "pause" });
      const paused = driver.progress();
      for (let n = 0; n < 10; n++) {
        expect(driver.action()).toEqual({ do: "rest", until: null });
        driver.wait(1_000);
        driver.feed({ kind: "tick" });
      }
      expect(driver.progress()).toEqual(paused);
      // What was under way may still come to its end, and nothing follows from it.
      if (underWay.do === "execute") {
        driver.feed({ kind: "done" });
        expect(driver.progress().state).toBe("Running");
        expect(driver.action()).toEqual({ do: "rest", until: null });
      }
      driver.feed({ kind: "resume" });
      finish(driver);
      expect(isEnded(driver.progress())).toBe(true);
    }),
    runs,
  );
});

test("a saga that somebody else has resumed goes on from the failure that it met while it was paused", () => {
  fc.assert(
    fc.property(stepsOf, deadlines, happenings, (steps, deadline, list) => {
      const driver = drive(steps, deadline);
      live(driver, list);
      fc.pre(driver.action().do === "execute");
      driver.feed({ kind: "pause" });
      driver.feed({ kind: "failed", message: "no", isFinal: true });
      // Resumed is a column of its own: nobody asks the machine what follows from it.
      let progress: Progress = { ...driver.progress(), paused: false };
      for (let turns = 0; !isEnded(progress); turns++) {
        expect(turns).toBeLessThan(1_000);
        const now = driver.now() + turns * 60_000;
        const action = actionOf(steps, progress, now, turns % 2 === 0);
        if (action.do === "rest") continue;
        const input: Input =
          action.do === "execute" || action.do === "look"
            ? { kind: "done" }
            : action.do === "begin"
              ? { kind: "begun", until: now }
              : action.do === "compensate"
                ? { kind: "compensated" }
                : { kind: action.do };
        if (action.do === "compensate") expect(steps[action.step]?.compensation).not.toBeNil();
        progress = advance(steps, progress, input, now).progress;
      }
    }),
    runs,
  );
});

test("each state is found again in what is kept of it", () => {
  fc.assert(
    fc.property(stepsOf, deadlines, happenings, (steps, deadline, list) => {
      const driver = drive(steps, deadline);
      live(driver, list, true);
      for (const progress of driver.states) expect(JSON.parse(JSON.stringify(progress))).toEqual(progress);
    }),
    { numRuns: 200 },
  );
});

test("every change of state is told", () => {
  const toldBy: Record<string, Transition["type"]> = {
    Running: "started",
    Completed: "completed",
    Compensated: "compensated",
    Failed: "failed",
  };
  fc.assert(
    fc.property(stepsOf, deadlines, happenings, (steps, deadline, list) => {
      const driver = drive(steps, deadline);
      for (const happening of list) {
        const before = driver.progress();
        const told = driver.told.length;
        live(driver, [happening], true);
        const { state } = driver.progress();
        const types = driver.told.slice(told).map(({ type }) => type);
        if (state !== before.state)
          expect(types).toContain(
            state === "Compensating"
              ? before.state === "Failed"
                ? "retried"
                : "compensating"
              : (toldBy[state] as never),
          );
        if (driver.progress() === before) expect(types).toEqual([]);
      }
    }),
    { numRuns: 500 },
  );
});

test("a failing step is tried as often as its policy says, with growing rests, and then everything before is undone", () => {
  const driver = drive([shape("a", "execute", true), shape("b", "execute", true, 3)]);
  work(driver, "well");
  work(driver, "well");
  const rests: number[] = [];
  for (let n = 1; n <= 3; n++) {
    expect(driver.action()).toEqual({ do: "execute", step: 1, attempt: n });
    work(driver, "badly");
    const action = driver.action();
    if (action.do === "rest") {
      rests.push((action.until as number) - driver.now());
      driver.wait((action.until as number) - driver.now());
    }
  }
  expect(rests).toEqual([100, 200]);
  expect(driver.action()).toEqual({ do: "compensate", step: 0, attempt: 1 });
  work(driver, "well");
  expect(driver.progress()).toMatchObject({ state: "Compensated", error: "no", failedStep: "b", compensated: ["a"] });
  expect(names(driver.told, "step-failed")).toEqual(["b", "b", "b"]);
});

test("a compensation that keeps failing leaves a failed saga with what is undone, and is tried again when asked", () => {
  const driver = drive([shape("a", "execute", true), shape("b", "execute", true), shape("c", "execute", false)]);
  for (const outcome of ["well", "well", "well", "badly", "badly"] as const) work(driver, outcome);
  expect(driver.progress()).toMatchObject({ state: "Failed", failedStep: "c", compensationError: "no" });
  expect(driver.told.at(-1)).toMatchObject({ type: "failed", step: "b", undone: ["b", "a"] });
  driver.feed({ kind: "retry" });
  expect(driver.action()).toEqual({ do: "compensate", step: 1, attempt: 1 });
  finish(driver);
  expect(driver.progress()).toMatchObject({ state: "Compensated", compensated: ["b", "a"], compensationError: null });
});

test("a wait ends with what it waited for, or when its time is over, and a sleep when it is over", () => {
  const steps = [shape("sleep", "sleep", false), shape("wait", "wait", false)];
  const driver = drive(steps);
  work(driver, "well");
  work(driver, "well");
  expect(driver.action()).toEqual({ do: "rest", until: 500 });
  driver.wait(500);
  work(driver, "well");
  expect(driver.progress().completed).toEqual(["sleep"]);
  work(driver, "well");
  work(driver, "badly");
  expect(driver.action()).toEqual({ do: "rest", until: 1_000 });
  driver.wait(499);
  expect(driver.action()).toEqual({ do: "look", step: 1 });
  work(driver, "badly");
  driver.wait(1);
  work(driver, "badly");
  expect(driver.progress()).toMatchObject({ state: "Compensated", error: "nothing came" });
});

test("a deadline ends what rests, and is not held against what is complete", () => {
  const late = drive([shape("a", "execute", true), shape("b", "execute", true)], 1_000);
  for (let n = 0; n < 2; n++) work(late, "well");
  late.wait(1_000);
  work(late, "well");
  expect(late.progress()).toMatchObject({ state: "Compensating", error: "its deadline has passed" });
  const complete = drive([shape("a", "execute", true)], 1_000);
  work(complete, "well");
  complete.wait(1_000);
  // The step was under way when the deadline passed.
  complete.feed({ kind: "done" });
  expect(complete.progress().state).toBe("Completed");
});
