// Messages that are tried again: each once a round, whoever else is at it.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { internalError } from "../../../src/base/errors.ts";
import { createLog } from "../../../src/base/log.ts";
import { retryDue } from "../../../src/delivery/bridge/inbound/retries.ts";
import type { Appender } from "../../../src/stream/append.ts";
import { parseRemoteDefinition, retryPauseMs } from "../../../src/stream/remote/definition.ts";
import { failLetter, listLetters, readDueLetters, replayLetters } from "../../../src/stream/remote/letters.ts";
import { advanceMirror } from "../../../src/stream/remote/move.ts";
import {
  configureRemoteStream,
  describeRemoteStream,
  type RemoteStream,
} from "../../../src/stream/remote/remote-streams.ts";
import { type Appending, openAppending } from "../../support/appending.ts";
import { openSql } from "../../support/sql.ts";

const log = createLog("silent", "test");
let appending: Appending;
beforeAll(async () => {
  appending = await openAppending();
});
afterAll(() => appending.stop());

/** A remote stream with messages that were given up, though they are events. */
async function withLetters(name: string, count: number, payload: Uint8Array | null = null): Promise<RemoteStream> {
  const { claims, reads } = appending;
  const definition = parseRemoteDefinition({ service: "svca", stream: name }, { service: "svcb", stream: name });
  await configureRemoteStream(claims, name, definition);
  const remote = await describeRemoteStream(reads, name);
  const letters = Array.from({ length: count }, (_, n) => ({
    ...{ jetstream: `svca_${name}`, sequence: n + 1, storedMs: 1_700_000_000_000, subject: `svca.${name}.Counted` },
    ...{ headers: [["Nats-Msg-Id", `${name}-${n}`]] as const, payload: payload ?? Buffer.from(`{"n":${n}}`) },
    ...{ reason: "schema-mismatch", detail: "of a test", retryMs: null },
  }));
  await advanceMirror(claims, { remote: remote.id, revision: null, cursor: null, origins: [], letters, settled: [] });
  return remote;
}

const retry = (remote: RemoteStream, appender: Pick<Appender, "append"> = appending.appender) => {
  const { claims: pool } = appending;
  const context = { service: "svcb", maxEventBytes: 1_000_000 };
  return retryDue({ pool, appender, context, onDead() {}, log }, remote, new AbortController().signal);
};

const due = async ({ id }: RemoteStream) =>
  (await readDueLetters(appending.claims, id, 0, 100)).map(({ sequence }) => sequence);

test("a message that somebody else has in hand is passed over, and tried again another time", async () => {
  const remote = await withLetters("held", 250);
  await replayLetters(appending.claims, remote.id, { all: true });
  const sql = openSql(appending.databaseUrl, 1);
  await sql.begin(async (tx) => {
    await tx`select from remote_dead_letters where remote_id = ${remote.id} and sequence in (1, 120) for update`;
    await retry(remote);
    expect(await due(remote)).toEqual([1, 120]);
  });
  await sql.end();
  await retry(remote);
  expect(await due(remote)).toEqual([]);
});

test("a try that two make at the same time counts once, and one from before a message was put back not at all", async () => {
  const remote = await withLetters("twice", 1);
  const { claims } = appending;
  await replayLetters(claims, remote.id, { all: true });
  const failure = { reason: "schema-mismatch", detail: "again", retryMs: 0 };
  const [letter] = await readDueLetters(claims, remote.id, 0, 1);
  if (letter === undefined) throw new Error("none is due");
  expect(await Promise.all([failLetter(claims, letter, failure), failLetter(claims, letter, failure)])).toContain(
    false,
  );
  const [again] = await readDueLetters(claims, remote.id, 0, 1);
  expect(again?.attempts).toBe(1);
  if (again === undefined) throw new Error("it is not due again");
  expect(await failLetter(claims, again, { ...failure, retryMs: null })).toBe(true);
  await replayLetters(claims, remote.id, { all: true });
  expect(await failLetter(claims, again, { ...failure, retryMs: null })).toBe(false);
  expect((await listLetters(claims, remote.id, { after: 0, limit: 10 })).letters).toEqual([]);
});

test("a message that fails for a reason of its own keeps none behind it waiting", async () => {
  const remote = await withLetters("failing", 3);
  const { claims, appender } = appending;
  await replayLetters(claims, remote.id, { all: true });
  const failing: Pick<typeof appender, "append"> = {
    append: (request) =>
      request.events[0]?.id === "failing-0"
        ? Promise.reject(internalError(new Error("a defect")))
        : appender.append(request),
  };
  await expect(retry(remote, failing)).rejects.toThrow();
  expect(await due(remote)).toEqual([1]);
});

test("a pause is a number, however many tries and whatever factor", () => {
  const backoff = { maxDeliveries: 1_000, backoffInitialMs: 0, backoffFactor: 100, backoffMaxMs: 60_000 };
  for (let attempts = 1; attempts < 1_000; attempts++) expect(retryPauseMs(backoff, attempts)).toBe(0);
  expect(retryPauseMs({ ...backoff, backoffInitialMs: 1 }, 999)).toBe(60_000);
});

test("pages of messages are as large as what they hold, however well that is compressed", async () => {
  const remote = await withLetters("large", 20, Buffer.alloc(900_000, "a"));
  expect((await listLetters(appending.reads, remote.id, { after: 0, limit: 100 })).letters).toHaveLength(3);
  await replayLetters(appending.claims, remote.id, { all: true });
  expect(await due(remote)).toHaveLength(3);
});
