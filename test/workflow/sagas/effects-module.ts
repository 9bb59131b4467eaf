// Sagas of processes that are killed: each step leaves a line in the file that EFFECTS names, which outlives its process.
import { appendFileSync, existsSync } from "node:fs";
import { defineEvent, defineModule, defineSaga, type SagaContext, Type } from "../../../src/workflow/index.ts";

const file = process.env.EFFECTS ?? "/dev/null";
const Go = defineEvent("EffectsGo", Type.Object({}));
const Data = Type.Object({ name: Type.String(), fails: Type.Optional(Type.Boolean()) });

const effect =
  (restMs = 0) =>
  async (_: unknown, { sagaId, step, idempotencyKey, attempt, signal, emit }: SagaContext) => {
    appendFileSync(file, `${JSON.stringify({ sagaId, step, idempotencyKey, attempt, pid: process.pid })}\n`);
    emit("effects", Done.event({ step }, { partitionKey: sagaId }));
    // As long as the file is there, who has come so far stays here.
    while (existsSync(`${file}.hold-${step}`) && !signal.aborted)
      await new Promise((resolve) => setTimeout(resolve, 10));
    if (restMs > 0) await new Promise((resolve) => setTimeout(resolve, Math.random() * restMs));
  };
const Done = defineEvent("EffectsDone", Type.Object({ step: Type.String() }));

const threeSteps = defineSaga("effects", { data: Data })
  .step("one", { execute: effect(20), compensate: effect(20) })
  .step("two", { execute: effect(20), compensate: effect(20) })
  .sleep("nap", { for: "50ms" })
  .step("three", {
    async execute(data, context) {
      await effect(20)(data, context);
      if (data.fails) throw new Error("as it was told");
    },
    retry: { attempts: 1 },
  });

const held = defineSaga("held", { data: Data })
  .step("first", { execute: effect(), compensate: effect(), timeout: "1m" })
  .step("second", { execute: effect() });

const going = defineSaga("going", { data: Data })
  .waitFor("go", Go, { timeout: "1m" })
  .step("went", { execute: effect() });

const napping = defineSaga("napping", { data: Data })
  .sleep("nap", { for: "500ms" })
  .step("woken", { execute: effect() });

export default defineModule({ name: "effects", events: [Go, Done], sagas: [threeSteps, held, going, napping] });
