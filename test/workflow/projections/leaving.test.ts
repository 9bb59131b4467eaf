// Who asks a read model and leaves before it is their turn.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { defineProjection, Type } from "../../../src/workflow/index.ts";
import { createProjectionRig, type ProjectionRig } from "../../support/projections.ts";
import { until } from "../../support/until.ts";

let rig: ProjectionRig;
beforeAll(async () => {
  rig = await createProjectionRig();
});
afterAll(() => rig.stop());

test("whoever leaves while all connections answer others waits no longer, and is asked for nothing", async () => {
  const gate = Promise.withResolvers<void>();
  const asked: string[] = [];
  const slow = defineProjection("slow", { row: Type.Object({ id: Type.String() }), key: "id" })
    .onAny({ key: () => null, apply: () => null })
    .read(Type.Object({ who: Type.String() }), async (_, { who }) => {
      asked.push(who);
      await gate.promise;
      return who;
    });
  const process = await rig.start([slow]);
  const ask = (who: string, signal = new AbortController().signal) =>
    process.projections.models.answer("slow", new URLSearchParams({ who }), signal);
  await until("it has tables", async () => (await process.generations("slow")).length > 0);
  let ended = 0;
  // More than there are connections for answers.
  const others = Array.from({ length: 20 }, () =>
    ask("other").finally(() => {
      ended++;
    }),
  );
  await until("some are being answered", () => asked.length > 1);
  const leaving = new AbortController();
  const left = ask("who left", leaving.signal);
  leaving.abort(new Error("gone"));
  expect(await left.catch((error: unknown) => error)).toBe(leaving.signal.reason);
  expect(ended).toBe(0);
  gate.resolve();
  await Promise.all(others);
  expect(asked).not.toContain("who left");
  await process.stop();
});
