// The checks of sagas find stories that cannot be, ends that were not planned, and effects that happened twice.
import { describe, expect, test } from "bun:test";
import type { SagaStarted, SagaStarting } from "../crash/process-history.ts";
import { type Run, rightRun, runWith, told, violationsOf } from "./doctored-processes.ts";

function expectOne(run: Run, about: string): void {
  const violations = violationsOf(run);
  expect(violations.length).toBeGreaterThan(0);
  expect(violations.join("\n")).toContain(about);
}

type Happenings = Parameters<Parameters<typeof runWith>[0]>[0];
const isTold =
  (of: string, what: string, step?: string) =>
  ({ type, data }: Happenings[number]) =>
    type === `sluice.saga-${what}` && data.sagaId === of && (step === undefined || data.step === step);
const isEffect =
  (type: string, step: string, isUndone: boolean) =>
  ({ type: other, data }: Happenings[number]) =>
    other === type && data.step === step && data.isUndone === isUndone;
const without = (is: (one: Happenings[number]) => boolean) => runWith((all) => all.filter((one) => !is(one)));
const twice = (is: (one: Happenings[number]) => boolean) =>
  runWith((all) => all.flatMap((one) => (is(one) ? [one, one] : [one])));
const seen = ({ snapshot }: Run, id: string) => snapshot.sagas.find(({ sagaId }) => sagaId === id) as object;

/** Swaps two happenings. */
function swapped(a: (one: Happenings[number]) => boolean, b: (one: Happenings[number]) => boolean): Run {
  return runWith((all) => {
    const [i, k] = [all.findIndex(a), all.findIndex(b)];
    return all.map((one, n) => (n === i ? all[k] : n === k ? all[i] : one) as Happenings[number]);
  });
}

describe("stories", () => {
  test("that are told twice, in part, are found", () => {
    expectOne(twice(isTold("e", "started")), "cannot be told of started");
    expectOne(twice(isTold("e", "step-completed", "pack")), "cannot be told of step-completed of pack");
    expectOne(twice(isTold("e", "step-compensated", "hold")), "cannot be told of step-compensated of hold");
    expectOne(twice(isTold("p", "completed")), "cannot be told of completed");
  });
  test("of which something is missing are found", () => {
    expectOne(without(isTold("e", "started")), "cannot be told of");
    expectOne(without(isTold("e", "step-completed", "hold")), "cannot be told of step-completed of pack");
    expectOne(without(isTold("e", "step-compensated", "hold")), "cannot be told of compensated");
    expectOne(without(isTold("p", "step-waiting")), "cannot be told of step-completed of confirmation");
  });
  test("out of order are found", () => {
    const [pack, hold] = [isTold("e", "step-compensated", "pack"), isTold("e", "step-compensated", "hold")];
    expectOne(swapped(pack, hold), "cannot be told of step-compensated of hold");
    expectOne(
      swapped(isTold("e", "step-completed", "hold"), isTold("e", "step-completed", "pack")),
      "cannot be told of step-completed of pack",
    );
  });
  test("in which a step that never completed is compensated are found", () => {
    const run = runWith((all) =>
      all.flatMap((one) =>
        isTold("e", "compensating")(one) ? [one, told("e", "errand", "step-compensated", { step: "ship" })] : [one],
      ),
    );
    expectOne(run, "cannot be told of step-compensated of ship");
  });
  test("that have no end, or another one than is shown, are found", () => {
    expectOne(without(isTold("e", "compensated")), "saga e (mark-e) does not end: it is Compensating");
    const other = rightRun();
    Object.assign(seen(other, "p"), { state: "Compensated" });
    expectOne(other, "is Compensated, and its stream says Completed");
    const steps = rightRun();
    Object.assign(seen(steps, "e"), { compensatedSteps: ["pack"] });
    expectOne(steps, "its stream says pack,hold");
  });
  test("of another correlation, or of a saga that is not there, are found", () => {
    const other = runWith((all) =>
      all.map((one) => (isTold("p", "completed")(one) ? { ...one, correlation: "another" } : one)),
    );
    expectOne(other, "cannot be told of completed");
    const none = rightRun();
    none.snapshot.sagas = none.snapshot.sagas.filter(({ sagaId }) => sagaId !== "p");
    expectOne(none, "there are transitions of saga p, and there is no such saga");
  });
});

describe("starts", () => {
  const startedOf = ({ history }: Run) => history.find((entry) => entry.kind === "saga-started") as SagaStarted;
  test("that came to two sagas, or to another one than was told, are found", () => {
    const two = rightRun();
    two.snapshot.sagas.push({ ...(seen(two, "p") as Run["snapshot"]["sagas"][number]), sagaId: "q" });
    expectOne(two, "mark-p was started 2 times");
    const other = rightRun();
    startedOf(other).sagaId = "another";
    expectOne(other, "mark-e was told saga another, and it is e");
  });
  test("that were acknowledged and are not there, were refused and are, or that nobody asked for, are found", () => {
    const gone = rightRun();
    gone.snapshot.sagas.shift();
    expectOne(gone, "mark-e was told saga e, and it is not there");
    const refused = rightRun();
    Object.assign(startedOf(refused), { outcome: "refused", sagaId: null });
    expectOne(refused, "mark-e was refused, and is saga e");
    const strange = rightRun();
    strange.history = strange.history.filter((entry) => !(entry.kind === "saga-starting" && entry.saga === "parley"));
    expectOne(strange, "nobody started saga p (mark-p)");
  });
});

describe("plans", () => {
  const planOf = ({ history }: Run) =>
    (history.find((entry) => entry.kind === "saga-starting") as SagaStarting).plan as Record<string, string>;
  test("that did not come true are found", () => {
    const completed = rightRun();
    planOf(completed).fails = "pack";
    expectOne(completed, "has completed pack, which was to fail");
    const undone = rightRun();
    planOf(undone).staysUndone = "hold";
    expectOne(undone, "was Compensated, and hold was to stay undone");
    const failed = rightRun();
    Object.assign(seen(failed, "p"), { state: "Failed" });
    expectOne(failed, "has Failed, and nothing was to stay undone");
  });
  test("waits that miss what came in time, or take what did not come, are found", () => {
    const inVain = runWith((all) =>
      all.map((one) =>
        isTold("p", "step-completed", "confirmation")(one)
          ? told("p", "parley", "step-failed", { step: "confirmation", attempt: 1 })
          : one,
      ),
    );
    Object.assign(seen(inVain, "p"), { completedSteps: ["hold"] });
    expectOne(inVain, "waited in vain until");
    expectOne(
      without(({ type }) => type === "Confirmed"),
      "has taken mark-p, and nothing has come",
    );
  });
});

describe("effects", () => {
  test("that happened twice, by a command or by an emission, are found", () => {
    expectOne(twice(isEffect("EffectMade", "pack", false)), "pack of saga e (mark-e) has had its effect 2 times");
    expectOne(twice(isEffect("EffectMade", "ship", false)), "ship of saga e (mark-e) has had its effect 2 times");
    expectOne(twice(isEffect("StepRecorded", "pack", false)), "what it emits is there 2 times");
  });
  test("that are missing though they are recorded are found", () => {
    expectOne(without(isEffect("EffectMade", "hold", true)), "is recorded, and has had no effect");
    expectOne(without(isEffect("StepRecorded", "hold", true)), "what it emits is there 0 times");
  });
  test("that were emitted by a step that is not recorded are found", () => {
    const run = runWith((all) => [
      ...all,
      { stream: "step-records", type: "StepRecorded", data: { sagaId: "e", step: "ship", isUndone: false } },
    ]);
    expectOne(run, "ship of saga e (mark-e) is not recorded, and what it emits is there 1 times");
  });
  test("that undo what never completed, or not in reverse, or after their record, are found", () => {
    const run = runWith((all) => [
      ...all,
      { stream: "effects", type: "EffectMade", data: { sagaId: "e", step: "ship", isUndone: true } },
    ]);
    expectOne(run, "has had its effect, and the step never completed");
    expectOne(
      swapped(isEffect("EffectMade", "hold", true), isEffect("EffectMade", "pack", true)),
      "was not undone in reverse",
    );
    expectOne(
      swapped(isEffect("EffectMade", "pack", false), isTold("e", "step-completed", "pack")),
      "pack of saga e (mark-e) was recorded at position",
    );
  });
  test("of what is held and given back, once too often or not at all, are found", () => {
    expectOne(
      without(({ type }) => type === "GivenBack"),
      "has 0 times GivenBack",
    );
    expectOne(
      twice(({ data }) => data.mark === "saga p hold"),
      "has 2 times Held",
    );
  });
  test("of a saga that is not there are found", () => {
    const run = runWith((all) => [
      ...all,
      { stream: "effects", type: "EffectMade", data: { sagaId: "ghost", step: "ship", isUndone: false } },
    ]);
    expectOne(run, "there are effects of saga ghost");
  });
});
