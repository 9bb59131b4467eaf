// Reading what one has just written: commands tell up to where the log has their events, and read models wait until they are as far.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { ProjectionStatus } from "../../src/workflow/projections/status.ts";
import { append, expectProblem, send } from "../support/client.ts";
import { post } from "../support/consume.ts";
import { createModuleFiles, type ModuleFiles } from "../support/modules.ts";
import { type Service, startService } from "../support/service.ts";
import { until } from "../support/until.ts";

let files: ModuleFiles;
let service: Service;
let other: Service;
beforeAll(async () => {
  files = await createModuleFiles();
  const MODULES = await files.write(`
    const { defineCommand, defineDecider, defineProjection, defineSaga } = sluice;
    const Noted = defineEvent("Noted", Type.Object({ text: Type.String() }));
    const take = defineCommand("take-notes", {
      body: Type.Object({ streams: Type.Array(Type.String()), text: Type.String() }),
      handle({ streams, text }, { workflow }) { for (const stream of streams) workflow.emit(stream, Noted.event({ text })); },
    });
    const pad = defineDecider("pad", { state: Type.Object({ notes: Type.Integer() }), initialState: { notes: 0 } })
      .on(Noted, ({ notes }) => ({ notes: notes + 1 }))
      .command("write", { body: Type.Object({ id: Type.String(), text: Type.String() }), id: ({ id }) => id,
        decide: (_, { text }) => (text === "" ? [] : Noted.event({ text })) });
    const texts = defineProjection("texts", {
      row: Type.Object({ text: Type.String(), times: Type.Integer() }), key: "text", initial: { times: 0 },
    }).on(Noted, { key: ({ text }) => text, apply: (row) => ({ ...row, times: row.times + 1 }) });
    const told = defineProjection("told", { row: Type.Object({ text: Type.String(), at: Type.Integer() }), key: "text" })
      .on(Noted, { key: ({ text }) => text, apply: (_, { text }, { position }) => ({ text, at: position }) })
      .read(Type.Object({ text: Type.String() }), async (model, { text }) => ({ at: (await model.get(text))?.at ?? null }));
    const heard = defineSubscription("heard", { stream: "heard", from: "beginning", mode: "exclusive" })
      .on(Noted, async ({ text }, event, { run }) => { note(await run.outcome(pad, "write", { id: "heard", text })); });
    export default defineModule({ name: "notes", events: [Noted], commands: [take], deciders: [pad], projections: [texts, told],
      subscriptions: [heard] });`);
  service = await startService({ MODULES });
  other = await startService({ MODULES, DATABASE_URL: service.databaseUrl });
});
afterAll(async () => {
  await other.stop();
  await service.stop();
  await files.remove();
});

type Outcome = { lastPosition: string | null; events: { stream: string; offset: string }[] };
const run = (name: string, body: unknown, headers: Record<string, string> = {}, { url } = service) =>
  send<Outcome>(`${url}/api/commands/${name}`, { method: "POST", headers, body: JSON.stringify(body) });
const positionOf = async ({ stream, offset }: { stream: string; offset: string }) =>
  (await send<{ position: string }>(`${service.url}/api/streams/${stream}/events/${offset}`)).body.position;
const readAt = <Body>(query: string, { url } = service) => send<Body>(`${url}/api/projections/${query}`);

test("a command answers the position of the last of its events, whatever streams they are in, and none without events", async () => {
  const { body } = await run("take-notes", { streams: ["b", "a", "b"], text: "x" });
  expect(body.lastPosition).toBe(await positionOf(body.events[2] as Outcome["events"][0]));
  const decided = await run("write", { id: "1", text: "y" });
  expect(decided.body.lastPosition).toBe(await positionOf(decided.body.events[0] as Outcome["events"][0]));
  expect((await run("write", { id: "1", text: "" })).body).toMatchObject({ lastPosition: null, events: [] });
  expect((await run("take-notes", { streams: [], text: "x" })).body.lastPosition).toBeNull();
});

test("a repeated command answers the same position, on every process", async () => {
  const key = { "idempotency-key": "once" };
  const first = await run("take-notes", { streams: ["b", "c"], text: "x" }, key);
  await append(service.url, "b", { type: "Else" });
  for (const place of [service, other]) {
    const again = await run("take-notes", { streams: ["b", "c"], text: "x" }, key, place);
    expect(again.body).toEqual(first.body);
  }
  const nothing = { "idempotency-key": "nothing" };
  for (let n = 0; n < 2; n++)
    expect((await run("take-notes", { streams: [], text: "x" }, nothing)).body.lastPosition).toBeNull();
});

test("a repeated command whose events the log has forgotten answers a position behind them", async () => {
  const key = { "idempotency-key": "forgotten" };
  const first = await run("take-notes", { streams: ["gone"], text: "x" }, key);
  await send(`${service.url}/api/streams/gone`, { method: "DELETE" });
  const again = await run("take-notes", { streams: ["gone"], text: "x" }, key);
  expect(Number(again.body.lastPosition)).toBeGreaterThanOrEqual(Number(first.body.lastPosition));
});

test("a handler is told it too", async () => {
  await append(service.url, "heard", { type: "Noted", data: { text: "heard" } });
  await until("the handler has run it", () => files.notes.length > 0);
  const { events, lastPosition } = files.notes[0] as {
    events: { stream: string; offset: number }[];
    lastPosition: number;
  };
  const [{ stream = "", offset = -1 } = {}] = events;
  expect(lastPosition).toBe(Number(await positionOf({ stream, offset: String(offset) })));
});

test("a read model that is asked for a position has what was written up to there, at whichever process", async () => {
  for (let n = 1; n <= 20; n++) {
    const place = n % 2 === 0 ? service : other;
    const { lastPosition } = (await run("write", { id: "2", text: "again" }, {}, place)).body;
    const [rows, told] = await Promise.all([
      readAt<{ row: { times: number }; position: string }>(`texts?key=again&atLeast=${lastPosition}`, place),
      readAt<{ at: number }>(`told?text=again&atLeast=${lastPosition}`, place),
    ]);
    expect(rows.body.row.times).toBe(n);
    expect(Number(rows.headers.get("projection-position"))).toBeGreaterThanOrEqual(Number(lastPosition));
    expect(told.body.at).toBe(Number(lastPosition));
  }
});

test("what is not for the projection is passed soon, and a page's next link waits for nothing", async () => {
  const { lastPosition } = (await append(service.url, "elsewhere", { type: "Else" })).body;
  const page = await readAt<{ next: string }>(`texts?limit=1&atLeast=${lastPosition}&wait=10s`);
  expect(page.status).toBe(200);
  expect(page.body.next).not.toContain("atLeast");
});

test("a projection that does not come so far in time says how far it is, at once where it stands", async () => {
  const before = (await run("write", { id: "3", text: "before" })).body.lastPosition;
  await readAt(`texts?atLeast=${before}`);
  await post(`${service.url}/api/projections/texts/pause`);
  const { lastPosition } = (await run("write", { id: "3", text: "paused" })).body;
  const answer = await readAt(`texts?atLeast=${lastPosition}&wait=60s`);
  expectProblem(answer as never, 503, "projection-behind");
  expect(answer.body).toMatchObject({ projection: "texts", atLeast: lastPosition, state: "paused", retryable: true });
  expect(answer.headers.get("retry-after")).not.toBeNull();
  await post(`${service.url}/api/projections/texts/resume`);
  expect((await readAt(`texts?key=paused&atLeast=${lastPosition}`)).status).toBe(200);
});

test("a position that the log does not have, and what is none, is refused", async () => {
  expectProblem((await readAt("texts?atLeast=999999999")) as never, 409, "cursor-beyond-head");
  for (const query of ["atLeast=x", "atLeast=1&wait=61s", "atLeast=1&wait=soon", "wait=1s"])
    expectProblem((await readAt(`texts?${query}`)) as never, 400, "invalid-parameter");
  const status = await readAt<ProjectionStatus>("texts/status");
  expect(status.body.state).toBe("running");
});
