// Waits that are matched by a stream, a subject or a partition key, and waits that may end without their event.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { defineSaga, Type } from "../../../src/workflow/index.ts";
import { append } from "../../support/client.ts";
import { createTestDatabase } from "../../support/postgres.ts";
import {
  begin,
  manage,
  newCorrelation,
  sagaOf,
  startSaga,
  transitionsOf,
  untilSaga,
  untilState,
} from "../../support/sagas.ts";
import { type Service, spawnService, startService } from "../../support/service.ts";
import { Answered } from "./matches.ts";

const env = { MODULES: new URL("./matches.ts", import.meta.url).pathname };
let service: Service;
beforeAll(async () => {
  service = await startService(env);
});
afterAll(() => service.stop());

let keys = 0;
const newKey = () => `key-${++keys}`;
type Attributes = { subject?: string; partitionkey?: string; correlationid?: string };
const answer = (text: string, attributes: Attributes, stream = "answers", { url } = service) =>
  append(url, stream, { type: "MatchAnswered", ...attributes, data: { answer: text } });
async function start(saga: string, input: Record<string, unknown>, place = service): Promise<string> {
  return (await startSaga(place, saga, input)).body.sagaId;
}
const waits = (id: string, place = service) =>
  untilSaga(place, id, "waits", ({ waitingFor }) => waitingFor === "MatchAnswered");

test("a wait ends with the event of the stream that the data name, whatever its correlation", async () => {
  const [key, other] = [newKey(), newKey()];
  const [id, ofOther] = [await start("by-stream", { key }), await start("by-stream", { key: other })];
  await waits(id);
  await answer("aside", { correlationid: id, subject: key, partitionkey: key });
  await answer("there", { correlationid: newCorrelation() }, `answers-${key}`);
  expect((await untilState(service, id, "Completed")).data).toMatchObject({ answer: "there", did: "with there" });
  expect(await sagaOf(service, ofOther)).toMatchObject({ state: "Running", waitingFor: "MatchAnswered" });
  await answer("here", {}, `answers-${other}`);
  expect((await untilState(service, ofOther, "Completed")).data.answer).toBe("here");
});

test("a wait ends with the event of the subject, or of the partition key, that the data name", async () => {
  const [bySubject, byKey] = [newKey(), newKey()];
  const subject = await start("by-subject", { key: bySubject });
  const key = await start("by-key", { key: byKey });
  await waits(subject);
  await waits(key);
  await answer("wrong", { subject: byKey, partitionkey: bySubject });
  await answer("of the subject", { subject: bySubject });
  expect((await untilState(service, subject, "Completed")).data.answer).toBe("of the subject");
  await answer("one", { partitionkey: byKey });
  await answer("two", { partitionkey: byKey });
  // Each wait takes the next one.
  expect((await untilState(service, key, "Completed")).data.answer).toBe("one two");
});

test("what came after the start and before the wait is found, also behind what an earlier wait has taken by another key", async () => {
  const [first, second] = [newKey(), newKey()];
  const id = await start("by-key", { key: first, other: second });
  await waits(id);
  await answer("second", { partitionkey: second });
  await answer("first", { partitionkey: first });
  expect((await untilState(service, id, "Completed")).data.answer).toBe("first second");
});

test("an event of an ephemeral stream is none that is waited for", async () => {
  const key = newKey();
  await fetch(`${service.url}/api/streams/answers-${key}`, { method: "PUT", body: '{"type":"ephemeral"}' });
  const id = await start("by-stream", { key });
  await waits(id);
  await answer("passing", {}, `answers-${key}`);
  const other = newKey();
  const also = await start("by-subject", { key: other });
  await waits(also);
  await answer("kept", { subject: other });
  await untilState(service, also, "Completed");
  // Resumed, it looks by itself too.
  await manage(service, id, "pause");
  await manage(service, id, "resume");
  await waits(id);
  expect(await sagaOf(service, id)).toMatchObject({ state: "Running", waitingFor: "MatchAnswered" });
});

test("what comes for a paused saga is found when it is resumed", async () => {
  const [key, other] = [newKey(), newKey()];
  const [id, also] = [await start("by-subject", { key }), await start("by-subject", { key: other })];
  await waits(id);
  await waits(also);
  await manage(service, id, "pause");
  await answer("meanwhile", { subject: key });
  await answer("behind it", { subject: other });
  await untilState(service, also, "Completed");
  expect((await sagaOf(service, id)).state).toBe("Running");
  await manage(service, id, "resume");
  expect((await untilState(service, id, "Completed")).data.answer).toBe("meanwhile");
});

test("an event that comes while every process is dead ends the wait when one is there again", async () => {
  const databaseUrl = await createTestDatabase();
  const one = await spawnService({ ...env, DATABASE_URL: databaseUrl, LEASE_DURATION: "500ms" });
  const started = await Promise.all(
    ["by-stream", "by-subject", "by-key"].map((saga) => start(saga, { key: "k", other: "k" }, one as never)),
  );
  for (const id of started) await waits(id, one as never);
  one.kill("SIGKILL");
  await one.exited;
  const plain = await startService({ DATABASE_URL: databaseUrl, MODULES: "" });
  await answer("a", { subject: "k", partitionkey: "k" }, "answers-k", plain);
  await answer("b", { subject: "k", partitionkey: "k" }, "answers-k", plain);
  await plain.stop();
  const two = await startService({ ...env, DATABASE_URL: databaseUrl, LEASE_DURATION: "500ms" });
  const ended = await Promise.all(started.map((id) => untilState(two, id, "Completed")));
  expect(ended.map(({ data }) => data.answer)).toEqual(["a", "a", "a b"]);
  await two.stop();
});

test("a wait whose time is over may go on: what it makes of that reaches the data, and its transition tells of it", async () => {
  const key = newKey();
  const id = await start("late", { key });
  const saga = await untilState(service, id, "Completed");
  expect(saga).toMatchObject({ data: { isLate: true, other: key, did: "without" }, error: null });
  const told = await transitionsOf(service, "late", id, "completed");
  const [waited, done] = told.filter(({ type }) => type === "sluice.saga-step-completed").map((event) => event.data);
  expect(waited).toMatchObject({ step: "answer", timedOut: true });
  expect(done).not.toHaveProperty("timedOut");
});

test("an event that comes in time is taken, and its time is no matter then", async () => {
  const correlation = newCorrelation();
  const id = await begin(service, "late", correlation, { key: newKey() });
  await answer("in time", { correlationid: correlation });
  const saga = await untilState(service, id, "Completed");
  expect(saga.data).toMatchObject({ answer: "in time", did: "with in time" });
  expect(saga.data).not.toHaveProperty("isLate");
});

test("it goes on as it is, or fails, as was said", async () => {
  const lenient = await untilState(service, await start("lenient", { key: "k" }), "Completed");
  expect(lenient.data).toEqual({ key: "k", did: "with none" });
  const strict = await untilState(service, await start("strict", { key: "k" }), "Compensated");
  expect(strict).toMatchObject({ failedStep: "answer", error: "no MatchAnswered came in time" });
});

test("a wait for no key, and additions that the data cannot have, fail the step with a sentence", async () => {
  const wrong = await untilState(service, await start("wrong", { key: "k" }), "Compensated");
  expect(wrong.error).toBe("it waits for the subject undefined, which is none");
  const unfit = await untilState(service, await start("unfit", { key: "k" }), "Compensated");
  expect(unfit.error).toBe("the data would not match their schema: /isLate must be boolean");
});

test("what is matched and what is made of a timeout is typed by the data", () => {
  const saga = defineSaga("typed", { data: Type.Object({ id: Type.String(), count: Type.Optional(Type.Number()) }) });
  saga.waitFor("a", Answered, { match: { stream: ({ id }) => id }, timeout: "1s", onTimeout: () => ({ count: 1 }) });
  // @ts-expect-error a number is no key
  saga.waitFor("a", Answered, { match: { subject: ({ count }) => count } });
  // @ts-expect-error count is a number
  saga.waitFor("a", Answered, { timeout: "1s", onTimeout: () => ({ count: "1" }) });
  // @ts-expect-error by one of them
  const two = () => saga.waitFor("a", Answered, { match: { subject: ({ id }) => id, stream: ({ id }) => id } });
  expect(two).toThrow("match is by one of stream, partitionKey and subject");
  // @ts-expect-error without a timeout
  expect(() => saga.waitFor("a", Answered, { onTimeout: "continue" })).toThrow("onTimeout stands without timeout");
});
