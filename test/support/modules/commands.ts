// A module for the tests of commands: handlers that do what they should, and some that do not.
import { defineCommand, defineEvent, defineModule, defineStream, reject, Type } from "../../../src/workflow/index.ts";

const Noted = defineEvent("Noted", Type.Object({ text: Type.String({ minLength: 1 }), n: Type.Integer() }));
const notes = defineStream("notes");
const body = Type.Object({ text: Type.String({ minLength: 1 }), n: Type.Integer() }, { additionalProperties: false });

/** Of commands that wait until the test lets them go on. */
export const gates: (() => void)[] = [];
/** What was emitted by handlers that were over. */
export const late: unknown[] = [];
export const calls = { count: 0 };

const note = defineCommand("note", {
  description: "Takes a note",
  body,
  result: Type.Object({ length: Type.Integer() }),
  handle({ text, n }, { workflow }) {
    calls.count++;
    if (n < 0) reject("Notes have no negative numbers", { n });
    workflow.emit(
      notes,
      Noted.event({ text, n }, { subject: text, partitionKey: `k${n}`, extensions: { mood: "good" } }),
    );
    return { length: text.length };
  },
});

const spread = defineCommand("spread", {
  body: Type.Object({ streams: Type.Array(Type.String()), text: Type.String() }),
  handle({ streams, text }, { workflow }) {
    for (const [n, stream] of streams.entries()) workflow.emit(stream, Noted.event({ text, n }));
  },
});

const broken = defineCommand("broken", {
  body: Type.Object({ how: Type.String() }),
  result: Type.Object({ ok: Type.Boolean(), more: Type.Optional(Type.Unknown()) }),
  timeout: "150ms",
  async handle({ how }, { workflow, signal }) {
    workflow.emit(notes, Noted.event({ text: "before it broke", n: 0 }));
    switch (how) {
      case "throws":
        throw new Error("the secret is 42");
      case "hangs":
        return new Promise(() => {});
      case "late":
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        try {
          workflow.emit(notes, Noted.event({ text: "too late", n: 0 }));
        } catch (error) {
          late.push(error);
        }
        return { ok: true };
      case "result":
        return JSON.parse('{"ok":"yes"}');
      case "event":
        workflow.emit(notes, Noted.event({ text: "", n: 0.5 }));
        return { ok: true };
      case "nul":
        workflow.emit(notes, Noted.event({ text: "\0", n: 0 }));
        return { ok: true };
      case "stream":
        workflow.emit("no such name", Noted.event({ text: "a", n: 0 }));
        return { ok: true };
      case "twice":
        workflow.emit(
          notes,
          Noted.event({ text: "a", n: 1 }, { id: "same" }),
          Noted.event({ text: "b", n: 2 }, { id: "same" }),
        );
        return { ok: true };
      case "large":
        workflow.emit(notes, Noted.event({ text: "x".repeat(1_100_000), n: 0 }));
        return { ok: true };
      case "bigint":
        return { ok: true, more: 1n };
      case "aborts":
        throw new DOMException("of its own", "AbortError");
      case "textless":
        throw Object.create(null);
      case "many":
        for (let n = 0; n < 1_000; n++) workflow.emit(notes, Noted.event({ text: "a", n }));
        return { ok: true };
      default:
        return { ok: workflow.pending.length === 1 };
    }
  },
});

const refusing = defineCommand("refusing", {
  body: Type.Object({}),
  handle: () => reject("It has its reasons", { big: 1n }),
});

const silent = defineCommand("silent", {
  body: Type.Object({}),
  result: Type.Object({ call: Type.Integer() }),
  handle: () => ({ call: ++calls.count }),
});

const gated = defineCommand("gated", {
  body: Type.Object({}),
  async handle(_, { workflow }) {
    await new Promise<void>((resolve) => gates.push(resolve));
    workflow.emit(notes, Noted.event({ text: "gated", n: 0 }));
  },
});

export default defineModule({
  name: "notes",
  events: [Noted],
  streams: [notes],
  commands: [note, spread, broken, refusing, silent, gated],
});
