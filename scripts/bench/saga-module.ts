// A saga of three steps that do next to nothing, for the measurement of sagas.
import { defineModule, defineSaga, Type } from "../../src/workflow/index.ts";

const data = Type.Object({ order: Type.String(), done: Type.Optional(Type.Integer()) });
const next = ({ done = 0 }: { done?: number }) => ({ done: done + 1 });

const trivial = defineSaga("trivial", { data })
  .step("reserve", { execute: next, compensate: () => {} })
  .step("pay", { execute: next, compensate: () => {} })
  .step("ship", { execute: next });

export default defineModule({ name: "bench-sagas", sagas: [trivial] });
