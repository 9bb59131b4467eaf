// Sagas that run: steps one after the other, what fails is tried again, and what was done is undone in reverse.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { reject } from "../../../src/workflow/index.ts";
import { expectProblem, readAll, send } from "../../support/client.ts";
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
import { until } from "../../support/until.ts";
import { callsOf, Noted, note, whenever } from "./trial.ts";

const modules = new URL("./trial.ts", import.meta.url).pathname;
let service: Service;
beforeAll(async () => {
  service = await startService({ MODULES: modules, MAX_BODY_BYTES: "4000000" });
});
afterAll(() => service.stop());

test("steps are done one after the other, each with what those before have added, and each is told", async () => {
  const correlation = newCorrelation();
  const started = await startSaga(service, "three", { name: "ada" }, { "correlation-id": correlation });
  expect(started.status).toBe(202);
  const { sagaId } = started.body;
  expect(started.body).toEqual({ sagaId, correlationId: correlation });
  expect(started.headers.get("location")).toBe(`/api/sagas/${sagaId}/status`);
  const saga = await untilState(service, sagaId, "Completed");
  expect(saga).toMatchObject({
    sagaId,
    correlationId: correlation,
    saga: "three",
    progress: "3/3",
    currentStep: 3,
    totalSteps: 3,
    step: null,
    completedSteps: ["one", "two", "three"],
    compensatedSteps: [],
    error: null,
    data: { name: "ada", trail: ["one", "two", "three"] },
    paused: false,
    dueAt: null,
  });
  expect(Date.parse(saga.endedAt as string)).toBeGreaterThanOrEqual(Date.parse(saga.startedAt));
  const events = await transitionsOf(service, "three", sagaId, "completed");
  expect(inShort(events)).toEqual([
    "started",
    "step-completed one",
    "step-completed two",
    "step-completed three",
    "completed",
  ]);
  for (const event of events)
    expect(event).toMatchObject({ correlationid: correlation, partitionkey: sagaId, subject: sagaId });
  expect(events[2]?.data).toEqual({ sagaId, saga: "three", state: "Running", step: "two", progress: "2/3" });
});

test("without a correlation id the saga's own is it", async () => {
  const { body } = await startSaga(service, "three");
  expect(body.correlationId).toBe(body.sagaId);
  await untilState(service, body.sagaId, "Completed");
});

test("a step that fails is tried again, and then the saga goes on", async () => {
  const correlation = newCorrelation();
  whenever(correlation, "two", ({ trail = [] }, { attempt }) => {
    if (attempt < 3) throw new Error(`attempt ${attempt}`);
    return { trail: [...trail, `two at ${attempt}`] };
  });
  const id = await begin(service, "three", correlation);
  const saga = await untilState(service, id, "Completed");
  expect(saga.data.trail).toEqual(["one", "two at 3", "three"]);
  expect(saga.error).toBeNull();
  const events = await transitionsOf(service, "three", id, "completed");
  expect(inShort(events).filter((text) => text.endsWith(" two"))).toEqual([
    "step-failed two",
    "step-failed two",
    "step-completed two",
  ]);
  expect(events.find(({ type }) => type === "sluice.saga-step-failed")?.data).toMatchObject({
    attempt: 1,
    error: "attempt 1",
  });
});

test("when a step fails for good, the steps before it are compensated in reverse", async () => {
  const correlation = newCorrelation();
  whenever(correlation, "three", () => {
    throw new Error("no more\nof\u0000this");
  });
  const id = await begin(service, "three", correlation);
  const saga = await untilState(service, id, "Compensated");
  expect(callsOf(correlation)).toEqual(["one", "two", "three", "three", "three", "undo two", "undo one"]);
  expect(saga).toMatchObject({
    error: "no more of this",
    failedStep: "three",
    completedSteps: ["one", "two"],
    compensatedSteps: ["two", "one"],
    undone: [],
    progress: "2/3",
    data: { trail: ["one", "two", "undo two", "undo one"] },
  });
  expect(inShort(await transitionsOf(service, "three", id, "compensated")).slice(-5)).toEqual([
    "step-failed three",
    "compensating",
    "step-compensated two",
    "step-compensated one",
    "compensated",
  ]);
});

test("whatever a step throws is a failure that is counted, also what has no text", async () => {
  const correlation = newCorrelation();
  whenever(correlation, "two", () => {
    throw Object.create(null);
  });
  const saga = await untilState(service, await begin(service, "three", correlation), "Compensated");
  expect(saga).toMatchObject({ failedStep: "two", error: "it threw something that has no text" });
  expect(callsOf(correlation)).toEqual(["one", "two", "two", "two", "undo one"]);
});

test("a step that never completed is not compensated", async () => {
  const correlation = newCorrelation();
  whenever(correlation, "one", () => reject("not today"));
  const id = await begin(service, "three", correlation);
  expect(await untilState(service, id, "Compensated")).toMatchObject({ error: "not today", compensatedSteps: [] });
  // A rejection is no failure that another try could mend.
  expect(callsOf(correlation)).toEqual(["one"]);
});

test("a step that does not come to an end is one that failed, and what it still does has no effect", async () => {
  const correlation = newCorrelation();
  const late: unknown[] = [];
  whenever(correlation, "two", async (_, { signal, emit }) => {
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    try {
      emit("late", Noted.event({ note: "late" }));
    } catch (error) {
      late.push(String(error));
    }
    return { name: "too late" };
  });
  const id = await begin(service, "three", correlation);
  const saga = await untilState(service, id, "Compensated");
  expect(saga).toMatchObject({ error: "it did not finish within 200 ms", data: { name: "n" } });
  expect(late).toEqual(Array(3).fill("Error: the attempt at two is over"));
});

test("what a step emits is appended with the record of it, and not if it fails", async () => {
  const correlation = newCorrelation();
  whenever(correlation, "one", (_, { emit, sagaId }) => {
    emit(`notes-${sagaId}`, Noted.event({ note: "first" }), Noted.event({ note: "second" }, { subject: "s" }));
    emit(`others-${sagaId}`, Noted.event({ note: "third" }, { id: "named" }));
  });
  whenever(correlation, "two", (_, { emit, sagaId }) => {
    emit(`notes-${sagaId}`, Noted.event({ note: "never" }));
    throw new Error("after all");
  });
  whenever(correlation, "undo one", (_, { emit, sagaId }) => {
    emit(`notes-${sagaId}`, Noted.event({ note: "undone" }));
  });
  const id = await begin(service, "three", correlation);
  await untilState(service, id, "Compensated");
  const notes = await until("all are appended", async () => {
    const events = await readAll(service.url, `notes-${id}`);
    return events.length === 3 ? events : null;
  });
  expect(notes.map(({ data }) => data)).toEqual([{ note: "first" }, { note: "second" }, { note: "undone" }]);
  expect(notes[1]).toMatchObject({
    type: "TrialNoted",
    correlationid: correlation,
    causationid: `${id}:one`,
    subject: "s",
  });
  expect(notes[2]?.causationid).toBe(`${id}:one:compensate`);
  expect((await readAll(service.url, `others-${id}`)).map((event) => event.id)).toEqual(["named"]);
});

test("what a handler must not do fails its step for good, with a sentence that says so", async () => {
  const wrong: [(correlation: string) => void, RegExp][] = [
    [(c) => whenever(c, "one", () => ({ trail: "no list" })), /^the data would not match their schema: \/trail /],
    [(c) => whenever(c, "one", () => "text"), /^it returned "text", which is no object/],
    [
      (c) => whenever(c, "one", () => ({ name: "x".repeat(1_100_000) })),
      /^the data would have more than 1048576 bytes/,
    ],
    [
      (c) => whenever(c, "one", (_, { emit }) => emit("notes", Noted.event({ note: "x".repeat(21) }))),
      /^it emitted TrialNoted, which its schema refuses: \/note /,
    ],
    [
      (c) => whenever(c, "one", (_, { emit }) => emit("no stream", Noted.event({ note: "x" }))),
      /^it emitted TrialNoted to a stream that has no valid name/,
    ],
  ];
  for (const [arrange, message] of wrong) {
    const correlation = newCorrelation();
    arrange(correlation);
    const id = await begin(service, "three", correlation);
    const saga = await untilState(service, id, "Compensated");
    expect(saga.error).toMatch(message);
    expect(callsOf(correlation)).toEqual(["one"]);
  }
  const correlation = newCorrelation();
  whenever(correlation, "one", (data) => {
    data.name = "changed";
  });
  const id = await begin(service, "three", correlation);
  expect((await untilState(service, id, "Compensated")).data.name).toBe("n");
});

test("a compensation that keeps failing leaves a failed saga that says what is undone, and can be tried again", async () => {
  const correlation = newCorrelation();
  let isMended = false;
  whenever(correlation, "three", () => reject("no"));
  whenever(correlation, "undo two", () => {
    if (!isMended) throw new Error("still broken");
  });
  const id = await begin(service, "three", correlation);
  const failed = await untilState(service, id, "Failed");
  expect(failed).toMatchObject({
    error: "no",
    failedStep: "three",
    compensationError: "still broken",
    undone: ["two", "one"],
    step: "two",
  });
  expect(callsOf(correlation).filter((call) => call === "undo two")).toHaveLength(3);
  for (const what of ["pause", "resume", "cancel"]) {
    const problem = expectProblem(await manage<never>(service, id, what), 409, "saga-ended");
    expect(problem).toMatchObject({ sagaId: id, state: "Failed" });
  }
  isMended = true;
  const retried = await manage(service, id, "retry");
  expect([retried.status, retried.body.undone]).toEqual([202, []]);
  const saga = await untilState(service, id, "Compensated");
  expect(saga).toMatchObject({ compensatedSteps: ["two", "one"], compensationError: null, undone: [] });
  expectProblem(await manage<never>(service, id, "retry"), 409, "saga-not-failed");
  const events = await transitionsOf(service, "three", id, "compensated");
  expect(events.find(({ type }) => type === "sluice.saga-failed")?.data).toMatchObject({ undone: ["two", "one"] });
  expect(inShort(events)).toContain("retried");
});

test("each attempt at a step has the same idempotency key, and each step and compensation another", async () => {
  const correlation = newCorrelation();
  const keys: string[] = [];
  for (const step of ["one", "two", "three", "undo two", "undo one"])
    whenever(correlation, step, (_, { idempotencyKey, attempt }) => {
      keys.push(idempotencyKey);
      if (step === "three") reject("no");
      if (attempt === 1) throw new Error("once more");
    });
  const id = await begin(service, "three", correlation);
  await untilState(service, id, "Compensated");
  const twice = (key: string) => [`${id}:${key}`, `${id}:${key}`];
  expect(keys).toEqual([
    ...twice("one"),
    ...twice("two"),
    `${id}:three`,
    ...twice("two:compensate"),
    ...twice("one:compensate"),
  ]);
});

test("a command that a step runs has its effect once, however often the step is tried, and gives the same result", async () => {
  const correlation = newCorrelation();
  const results: unknown[] = [];
  whenever(correlation, "one", async (_, { run, attempt, sagaId }) => {
    const stream = `commanded-${sagaId}`;
    results.push(await run(note, { stream, note: "first" }), await run(note, { stream, note: "second" }));
    if (attempt < 3) throw new Error("after its effect");
  });
  const id = await begin(service, "three", correlation);
  await untilState(service, id, "Completed");
  const [first, second] = results;
  expect(results).toEqual([first, second, first, second, first, second]);
  expect(first).not.toEqual(second);
  const events = await readAll(service.url, `commanded-${id}`);
  expect(events.map(({ data, correlationid }) => [data, correlationid])).toEqual([
    [{ note: "first" }, correlation],
    [{ note: "second" }, correlation],
  ]);
});

test("what a step gives to a command stays its own: it may change it afterwards", async () => {
  const correlation = newCorrelation();
  whenever(correlation, "one", async (_, { run, sagaId }) => {
    const body = { stream: `own-${sagaId}`, note: "before" };
    await run(note, body);
    body.note = "after";
    await run(note, body);
  });
  const id = await begin(service, "three", correlation);
  await untilState(service, id, "Completed");
  expect((await readAll(service.url, `own-${id}`)).map(({ data }) => data)).toEqual([
    { note: "before" },
    { note: "after" },
  ]);
});

test("a command that is refused fails its step for good, and one that fails is tried again", async () => {
  const refused = newCorrelation();
  whenever(refused, "one", (_, { run }) => run(note, { stream: "s", note: "refused" }));
  const refusedId = await begin(service, "three", refused);
  expect((await untilState(service, refusedId, "Compensated")).error).toBe("such notes are refused");
  expect(callsOf(refused)).toEqual(["one"]);
  const broken = newCorrelation();
  whenever(broken, "one", (_, { run }) => run(note, { stream: "s", note: "broken" }));
  const brokenId = await begin(service, "three", broken);
  expect((await untilState(service, brokenId, "Compensated")).failedStep).toBe("one");
  expect(callsOf(broken)).toEqual(["one", "one", "one"]);
});

test("what it is started with is checked, and can be something else than its data", async () => {
  const refused = await startSaga<never>(service, "three", { name: 7, trail: "x" });
  const problem = expectProblem(refused, 422, "invalid-request");
  expect((problem.errors as { path: string }[]).map(({ path }) => path).sort()).toEqual(["/name", "/trail"]);
  expectProblem(await startSaga<never>(service, "nothing"), 404, "saga-not-found");
  const raw = await send(`${service.url}/api/sagas/three/start`, { method: "POST", body: "{" });
  expectProblem(raw, 400, "malformed-body");
  const { body } = await startSaga(service, "started", { first: "Ada", last: "King" });
  const saga = await untilState(service, body.sagaId, "Completed");
  expect(saga.data).toEqual({ name: "Ada King", trail: ["only"] });
});

test("each saga is an operation of the document, with what it is started with", async () => {
  type Content = { content: Record<string, { schema: { properties: object; required: string[] } }> };
  type Start = { post: { operationId: string; requestBody: Content; responses: Record<string, unknown> } };
  const { paths } = (await send<{ paths: Record<string, Start> }>(`${service.url}/openapi.json`)).body;
  const start = paths["/api/sagas/started/start"]?.post;
  expect(start?.operationId).toBe("startStartedSaga");
  expect(start?.requestBody.content["application/json"]?.schema).toMatchObject({
    properties: { first: { type: "string" }, last: { type: "string" } },
    required: ["first", "last"],
  });
  expect(Object.keys(start?.responses ?? {})).toContain("202");
  expect(Object.keys(paths)).toContain("/api/sagas/{saga}/start");
});

test("data that no step could go on with are refused at the start", async () => {
  const mebibyte = 1_048_576;
  const most = mebibyte - JSON.stringify({ first: "" }).length;
  const start = (first: string) => startSaga<never>(service, "started", { first, last: "" });
  const problem = expectProblem(await start("x".repeat(mebibyte)), 422, "invalid-request");
  expect(problem.errors).toEqual([{ path: "", message: `makes data of more than ${mebibyte} bytes` }]);
  expect((await start("x".repeat(most - 20))).status).toBe(202);
});

test("a start that is repeated with its key starts nothing, and another one with it is refused", async () => {
  const start = (key: string, name: string) => startSaga(service, "three", { name }, { "idempotency-key": key });
  const first = await start("start-1", "a");
  expect(first.status).toBe(202);
  expect((await start("start-1", "a")).body).toEqual(first.body);
  expectProblem(
    await startSaga<never>(service, "three", { name: "b" }, { "idempotency-key": "start-1" }),
    422,
    "idempotency-key-reused",
  );
  // Its bytes are compared, as those of commands and appends are.
  const headers = { "idempotency-key": "start-1" };
  const blank = { method: "POST", headers, body: '{ "name": "a"}' };
  expectProblem(await send(`${service.url}/api/sagas/three/start`, blank), 422, "idempotency-key-reused");
  expect((await start("start-2", "a")).body.sagaId).not.toBe(first.body.sagaId);
  const many = await Promise.all(Array.from({ length: 8 }, () => start("start-3", "c")));
  const ids = new Set(many.flatMap(({ status, body }) => (status === 202 ? [body.sagaId] : [])));
  expect(ids.size).toBe(1);
  for (const answer of many) expect([202, 409]).toContain(answer.status);
  await untilState(service, first.body.sagaId, "Completed");
  expect((await start("start-1", "a")).body).toEqual(first.body);
});

test("sagas are found by state, name and correlation, newest first, page by page", async () => {
  const correlation = newCorrelation();
  const ids: string[] = [];
  for (let n = 0; n < 5; n++)
    ids.push(
      await begin(service, n === 4 ? "started" : "three", correlation, n === 4 ? { first: "a", last: "b" } : undefined),
    );
  for (const id of ids) await untilState(service, id, "Completed");
  type Page = { sagas: { sagaId: string; state: string; data?: unknown }[]; next: string | null };
  const page = async (query: string) => (await send<Page>(`${service.url}/api/sagas?${query}`)).body;
  const all = await page(`correlation=${correlation}`);
  expect(all.sagas.map(({ sagaId }) => sagaId)).toEqual([...ids].reverse());
  expect([all.next, all.sagas[0]?.data]).toEqual([null, undefined]);
  for (const query of ["", "saga=three&", "state=Completed&", "saga=three&state=Completed&"]) {
    const found: string[] = [];
    for (let next: string | null = `/api/sagas?${query}correlation=${correlation}&limit=2`; next !== null; ) {
      const { body }: { body: Page } = await send<Page>(`${service.url}${next}`);
      expect(body.sagas.length).toBeLessThanOrEqual(2);
      found.push(...body.sagas.map(({ sagaId }) => sagaId));
      next = body.next;
    }
    expect(found).toEqual([...(query.includes("three") ? ids.slice(0, 4) : ids)].reverse());
    const newest = await page(`${query}limit=1`);
    expect(newest.sagas.map(({ sagaId }) => sagaId)).toEqual([ids[query.includes("three") ? 3 : 4] as string]);
  }
  expect((await page(`correlation=${correlation}&state=Failed`)).sagas).toEqual([]);
  expectProblem(await send(`${service.url}/api/sagas?state=Broken`), 400, "invalid-parameter");
  expectProblem(await send(`${service.url}/api/sagas/nobody/status`), 404, "saga-not-found");
  expectProblem(await send(`${service.url}/api/sagas/${crypto.randomUUID()}/status`), 404, "saga-not-found");
  expectProblem(await manage<never>(service, crypto.randomUUID(), "pause"), 404, "saga-not-found");
});

test("more sagas than are carried out at once all come to their end", async () => {
  const few = await startService({ MODULES: modules, SAGA_CONCURRENCY: "3" });
  try {
    const correlation = newCorrelation();
    let now = 0;
    let most = 0;
    whenever(correlation, "one", async () => {
      most = Math.max(most, ++now);
      await new Promise((resolve) => setTimeout(resolve, 2));
      now--;
    });
    const ids = await Promise.all(Array.from({ length: 50 }, () => begin(few, "three", correlation)));
    for (const id of ids) await untilSaga(few, id, "is Completed", ({ state }) => state === "Completed");
    expect(most).toBe(3);
    expect((await sagaOf(few, ids[0] as string)).completedSteps).toEqual(["one", "two", "three"]);
  } finally {
    await few.stop();
  }
});
