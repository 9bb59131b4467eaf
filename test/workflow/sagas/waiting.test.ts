// Sagas that wait: for an event, for a time, until a deadline; and who pauses, resumes and cancels them.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { reject } from "../../../src/workflow/index.ts";
import { append, expectProblem, send } from "../../support/client.ts";
import {
  begin,
  inShort,
  manage,
  newCorrelation,
  sagaOf,
  startSaga,
  transitionsOf,
  untilSaga,
  untilState,
} from "../../support/sagas.ts";
import { type Service, startService } from "../../support/service.ts";
import { openSql } from "../../support/sql.ts";
import { until } from "../../support/until.ts";
import { callsOf, whenever } from "./trial.ts";

let service: Service;
beforeAll(async () => {
  service = await startService({ MODULES: new URL("./trial.ts", import.meta.url).pathname });
});
afterAll(() => service.stop());

const emit = (correlation: string, data: unknown, type = "TrialPaid", version = "2") =>
  append(service.url, "payments", { type, schemaversion: version, correlationid: correlation, data });
const pay = (correlation: string, amount: number) => emit(correlation, { amount, currency: "CHF" });
const waiting = (id: string, type = "TrialPaid") =>
  untilSaga(service, id, `waits for ${type}`, ({ waitingFor }) => waitingFor === type);

test("a wait ends with the event of its correlation that is the one, and takes its data as of the newest version", async () => {
  const correlation = newCorrelation();
  const id = await begin(service, "payment", correlation);
  const before = await waiting(id);
  expect(before).toMatchObject({ state: "Running", step: "pay", progress: "1/3" });
  expect(Date.parse(before.dueAt as string) - Date.parse(before.updatedAt)).toBeWithin(1_900, 2_100);
  await pay(newCorrelation(), 1);
  await pay(correlation, -1);
  await emit(correlation, { note: "x" }, "TrialNoted", "1");
  await until("what is not the one was looked at", async () => {
    const { updatedAt } = await sagaOf(service, id);
    return updatedAt !== before.updatedAt;
  });
  expect((await sagaOf(service, id)).waitingFor).toBe("TrialPaid");
  await emit(correlation, { amount: 5 }, "TrialPaid", "1");
  const saga = await untilState(service, id, "Completed");
  expect(saga.data).toEqual({ name: "n", trail: ["order", "EUR", "ship"], paid: 5 });
  expect(inShort(await transitionsOf(service, "payment", id, "completed"))).toEqual([
    "started",
    "step-completed order",
    "step-waiting pay",
    "step-completed pay",
    "step-completed ship",
    "completed",
  ]);
});

test("an event that came before its wait began is found, and one that came before the saga is not", async () => {
  const correlation = newCorrelation();
  await pay(correlation, 1);
  let isPaid: () => void = () => {};
  const paid = new Promise<void>((resolve) => {
    isPaid = resolve;
  });
  whenever(correlation, "order", () => paid.then(() => undefined));
  const id = await begin(service, "payment", correlation);
  await pay(correlation, 2);
  isPaid();
  expect((await untilState(service, id, "Completed")).data.paid).toBe(2);
});

test("of several waits each takes the next event of its type, in whatever order the types came", async () => {
  const correlation = newCorrelation();
  const id = await begin(service, "patient", correlation);
  await waiting(id);
  await emit(correlation, { note: "early" }, "TrialNoted", "1");
  await pay(correlation, 10);
  await untilSaga(service, id, "waits again", ({ step }) => step === "pay-again");
  await pay(correlation, 200);
  const saga = await untilState(service, id, "Completed");
  expect(saga.data).toEqual({ name: "n", paid: 210, trail: ["early"] });
});

test("a wait whose time is over has failed, and what was done is compensated", async () => {
  const correlation = newCorrelation();
  const id = await begin(service, "payment", correlation);
  const saga = await untilState(service, id, "Compensated");
  expect(saga).toMatchObject({
    error: "no TrialPaid came in time",
    failedStep: "pay",
    compensatedSteps: ["order"],
    waitingFor: null,
  });
  const took = Date.parse(saga.endedAt as string) - Date.parse(saga.startedAt);
  expect(took).toBeWithin(1_950, 3_000);
  // Too late.
  await pay(correlation, 5);
  expect(callsOf(correlation)).toEqual(["order", "undo order"]);
});

test("an event that is not what its type says fails the wait with a sentence", async () => {
  const correlation = newCorrelation();
  const id = await begin(service, "payment", correlation);
  await waiting(id);
  await emit(correlation, { amount: "much", currency: "CHF" });
  expect((await untilState(service, id, "Compensated")).error).toMatch(
    /^the event at position \d+ was refused: its data do not match TrialPaid: \/amount must be number$/,
  );
});

test("an event of a version that this process does not know waits for one that does", async () => {
  const correlation = newCorrelation();
  const id = await begin(service, "payment", correlation);
  await waiting(id);
  await emit(correlation, { amount: 5, currency: "CHF" }, "TrialPaid", "3");
  const saga = await untilSaga(service, id, "says why", ({ error }) => error !== null);
  expect(saga).toMatchObject({ state: "Running", waitingFor: "TrialPaid" });
  expect(saga.error).toMatch(/^the event at position \d+ is version 3 of TrialPaid, a newer one$/);
});

test("a sleep is over when it is, and what is over already is none", async () => {
  const correlation = newCorrelation();
  const id = await begin(service, "sleepy", correlation);
  const napping = await untilSaga(service, id, "naps", ({ step }) => step === "nap");
  expect(napping.dueAt).not.toBeNull();
  const saga = await untilState(service, id, "Completed");
  expect(Date.parse(saga.endedAt as string) - Date.parse(saga.startedAt)).toBeWithin(150, 700);
  const later = new Date(Date.now() + 600).toISOString();
  const { body } = await startSaga(service, "sleepy", { name: "n", until: later });
  const woken = await untilState(service, body.sagaId, "Completed");
  expect(Date.parse(woken.endedAt as string)).toBeWithin(Date.parse(later) - 20, Date.parse(later) + 400);
  const wrong = await startSaga(service, "sleepy", { name: "n", until: "tomorrow" });
  const failed = await untilState(service, wrong.body.sagaId, "Compensated");
  expect([failed.error, failed.compensatedSteps]).toEqual([
    'it sleeps until "tomorrow", which is no time of RFC 3339',
    ["before"],
  ]);
});

test("a deadline ends a saga that waits, and its completed steps are compensated", async () => {
  const correlation = newCorrelation();
  const id = await begin(service, "hurried", correlation);
  expect((await waiting(id)).deadlineAt).not.toBeNull();
  const saga = await untilState(service, id, "Compensated");
  expect(saga).toMatchObject({ error: "its deadline has passed", compensatedSteps: ["begin"], failedStep: null });
  expect(Date.parse(saga.endedAt as string) - Date.parse(saga.startedAt)).toBeWithin(295, 900);
});

test("a paused saga begins nothing, and goes on where it was when it is resumed", async () => {
  const correlation = newCorrelation();
  let release: () => void = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  whenever(correlation, "one", () => released.then(() => undefined));
  const id = await begin(service, "three", correlation);
  await until("the first step is under way", () => callsOf(correlation).length === 1);
  const paused = await manage(service, id, "pause");
  expect([paused.status, paused.body.paused, paused.body.state]).toEqual([200, true, "Running"]);
  expect((await manage(service, id, "pause")).status).toBe(200);
  release();
  // What was under way is recorded.
  await untilSaga(service, id, "has completed its first step", ({ completedSteps }) => completedSteps.length === 1);
  const other = await startSaga(service, "three");
  await untilState(service, other.body.sagaId, "Completed");
  expect(callsOf(correlation)).toEqual(["one"]);
  const resumed = await manage(service, id, "resume");
  expect([resumed.status, resumed.body.paused]).toEqual([200, false]);
  expect((await untilState(service, id, "Completed")).completedSteps).toEqual(["one", "two", "three"]);
  expect(inShort(await transitionsOf(service, "three", id, "completed"))).toEqual([
    "started",
    "paused",
    "step-completed one",
    "resumed",
    "step-completed two",
    "step-completed three",
    "completed",
  ]);
  expectProblem(await manage<never>(service, id, "pause"), 409, "saga-ended");
});

test("a step that fails for good while its saga is paused: what is complete is compensated when it is resumed, and nothing if nothing is", async () => {
  for (const step of ["one", "three"]) {
    const correlation = newCorrelation();
    whenever(correlation, step, async (_, { sagaId }) => {
      await manage(service, sagaId, "pause");
      reject("It was paused meanwhile");
    });
    const id = await begin(service, "three", correlation);
    await untilSaga(service, id, "has failed", ({ state }) => state === "Compensating");
    await manage(service, id, "resume");
    const done = step === "one" ? [] : ["one", "two"];
    const { completedSteps, compensatedSteps } = await untilState(service, id, "Compensated");
    expect([completedSteps, compensatedSteps]).toEqual([done, done.toReversed()]);
  }
});

test("what comes for a paused saga is found when it is resumed", async () => {
  const correlation = newCorrelation();
  const id = await begin(service, "payment", correlation);
  await waiting(id);
  await manage(service, id, "pause");
  await pay(correlation, 7);
  const other = newCorrelation();
  const otherId = await begin(service, "payment", other);
  await waiting(otherId);
  await pay(other, 8);
  // The watch has passed both events.
  await untilState(service, otherId, "Completed");
  expect(await sagaOf(service, id)).toMatchObject({ state: "Running", step: "pay", dueAt: null, paused: true });
  await manage(service, id, "resume");
  expect((await untilState(service, id, "Completed")).data.paid).toBe(7);
});

test("a saga that waits is cancelled at once, and its completed steps are compensated", async () => {
  const correlation = newCorrelation();
  const id = await begin(service, "payment", correlation);
  await waiting(id);
  const cancelled = await manage(service, id, "cancel");
  expect([cancelled.status, cancelled.body.cancelRequested]).toEqual([202, true]);
  const saga = await untilState(service, id, "Compensated");
  expect(saga).toMatchObject({ error: "it was cancelled", compensatedSteps: ["order"], failedStep: null });
  expect(inShort(await transitionsOf(service, "payment", id, "compensated")).slice(-4)).toEqual([
    "cancel-requested",
    "compensating",
    "step-compensated order",
    "compensated",
  ]);
});

test("a step that is under way when its saga is cancelled comes to its end, and is compensated too", async () => {
  const correlation = newCorrelation();
  let release: () => void = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  whenever(correlation, "one", () => released.then(() => undefined));
  const id = await begin(service, "three", correlation);
  await until("the first step is under way", () => callsOf(correlation).length === 1);
  await manage(service, id, "cancel");
  expect((await manage(service, id, "cancel")).status).toBe(202);
  release();
  expect(await untilState(service, id, "Compensated")).toMatchObject({
    completedSteps: ["one"],
    compensatedSteps: ["one"],
  });
  expect(callsOf(correlation)).toEqual(["one", "undo one"]);
});

test("a cancellation that comes while the last step is under way is kept", async () => {
  const correlation = newCorrelation();
  let release: () => void = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  whenever(correlation, "three", () => released.then(() => undefined));
  const id = await begin(service, "three", correlation);
  await until("the last step is under way", () => callsOf(correlation).length === 3);
  await manage(service, id, "cancel");
  release();
  expect((await untilState(service, id, "Compensated")).completedSteps).toEqual(["one", "two", "three"]);
  expect(callsOf(correlation).slice(3)).toEqual(["undo two", "undo one"]);
});

test("a paused saga that is cancelled is compensated when it is resumed", async () => {
  const correlation = newCorrelation();
  const id = await begin(service, "payment", correlation);
  await waiting(id);
  await manage(service, id, "pause");
  expect((await manage(service, id, "cancel")).body).toMatchObject({ paused: true, cancelRequested: true });
  const other = await startSaga(service, "three");
  await untilState(service, other.body.sagaId, "Completed");
  expect(callsOf(correlation)).toEqual(["order"]);
  await manage(service, id, "resume");
  await untilState(service, id, "Compensated");
});

test("sagas that came to a good end are forgotten after their time, and those that failed are not", async () => {
  const ended = await startSaga(service, "three");
  await untilState(service, ended.body.sagaId, "Completed");
  const sql = openSql(service.databaseUrl);
  try {
    const forget = async () => (await sql<{ n: number }[]>`select sagas_forget('1 hour', 1000) as n`)[0]?.n;
    await forget();
    expect((await sagaOf(service, ended.body.sagaId)).state).toBe("Completed");
    await sql`update sagas set ended_at = ended_at - interval '2 hours' where id = ${ended.body.sagaId}`;
    const correlation = newCorrelation();
    for (const step of ["two", "undo one"]) whenever(correlation, step, () => reject("no"));
    const failed = await begin(service, "three", correlation);
    await untilState(service, failed, "Failed");
    await sql`update sagas set ended_at = ended_at - interval '1 day' where id = ${failed}`;
    expect(await forget()).toBe(1);
    expectProblem(await send(`${service.url}/api/sagas/${ended.body.sagaId}/status`), 404, "saga-not-found");
    expect((await sagaOf(service, failed)).state).toBe("Failed");
  } finally {
    await sql.end();
  }
});
