// Whatever versions a type has had, and whenever events came: what is read as the newest is what folding by hand makes of it.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { append, type Envelope, send } from "../../support/client.ts";
import { applyHop, expressionOf, type Hop, type Shape } from "../../support/hops.ts";
import { createTestDatabase } from "../../support/postgres.ts";
import { jsonata, proposeVersion } from "../../support/registry.ts";
import { startService } from "../../support/service.ts";
import { openEventStream } from "../../support/sse.ts";

const root = new URL("../../../", import.meta.url).pathname;
let folder: string;
let databaseUrl: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-histories-"));
  databaseUrl = await createTestDatabase();
});
afterAll(() => rm(folder, { recursive: true }));

const fields = fc.constantFrom("a", "b", "c", "a1", "b2");
const words = fc
  .array(fc.constantFrom("x", "ü", "😀", " ", '"', "\\", "\n"), { maxLength: 6 })
  .map((part) => part.join(""));
const scalars = fc.oneof(fc.integer(), words, fc.constant(null));
const data: fc.Arbitrary<Shape> = fc
  .tuple(
    fc.nat(),
    fc.dictionary(fields, fc.oneof(scalars, fc.boolean(), fc.record({ n: fc.integer() })), {
      maxKeys: 4,
      noNullPrototype: true,
    }),
  )
  .map(([id, members]) => ({ ...members, id }));
const hop: fc.Arbitrary<Hop> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ op: fc.constant("rename" as const), from: fields, to: fields }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("split" as const), field: fields }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("constant" as const), field: fields, value: scalars }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("nest" as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("refuse" as const), field: fields }) },
);

/** What a module has: of each version after the first, whether it has an upcaster in code. */
const inCode = fc.array(fc.option(hop, { nil: null }), { maxLength: 4 });
const steps = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.record({ do: fc.constant("append" as const), version: fc.nat(8), data }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("register" as const), hop: fc.option(hop, { nil: null }) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("mend" as const), version: fc.nat(8), hop }) },
  ),
  { maxLength: 12 },
);

let histories = 0;

/** A module whose type has these versions, all of any data. */
async function moduleOf(type: string, hops: readonly (Hop | null)[]): Promise<string> {
  const versions = hops.map((one) =>
    one === null
      ? ".version(Type.Any())"
      : `.version(Type.Any(), { upcast: (data) => applyHop(${JSON.stringify(one)}, data) })`,
  );
  const path = join(folder, `${type}.ts`);
  const code = `import { defineEvent, defineModule, Type } from ${JSON.stringify(`${root}src/workflow/index.ts`)};
    import { applyHop } from ${JSON.stringify(`${root}test/support/hops.ts`)};
    const event = defineEvent("${type}", Type.Any())${versions.join("")};
    export default defineModule({ name: "histories", events: [event] });`;
  await writeFile(path, code);
  return path;
}

type Stored = { version: number; data: Shape };

/** The data as of the newest version, by hand; null where a hop fails. */
function folded({ version, data: first }: Stored, hops: readonly (Hop | null)[]): Shape | null {
  try {
    return hops.slice(version - 1).reduce((shape, one) => (one === null ? shape : applyHop(one, shape)), first);
  } catch {
    return null;
  }
}

test("reading as the newest version is folding the upcasters by hand, in every form of reading", async () => {
  await fc.assert(
    fc.asyncProperty(inCode, steps, data, async (code, history, last) => {
      const type = `History${++histories}`;
      const service = await startService({ DATABASE_URL: databaseUrl, MODULES: await moduleOf(type, code) });
      const { url } = service;
      try {
        /** From each version to the next, as it is now. */
        const hops = [...code];
        const stored: Stored[] = [];
        const store = async (version: number, one: Shape) => {
          const answer = await append(url, type, { type, schemaversion: String(version), data: one });
          expect(answer.status, answer.text).toBe(201);
          stored.push({ version, data: one });
        };
        const register = async (version: number, one: Hop | null) => {
          const upcast = one === null ? {} : { upcast: jsonata(expressionOf(one)) };
          const answer = await proposeVersion(url, type, version, { schema: {}, ...upcast });
          expect([200, 201], answer.text).toContain(answer.status);
        };
        for (const step of history) {
          if (step.do === "append") await store(1 + (step.version % (hops.length + 1)), step.data);
          else if (step.do === "register") {
            await register(hops.length + 2, step.hop);
            hops.push(step.hop);
          } else {
            // Of what is not code the upcaster can be another one from now on.
            const at = hops.length === 0 ? 0 : step.version % hops.length;
            if (hops.length === 0 || (code[at] ?? null) !== null) continue;
            await register(at + 2, step.hop);
            hops[at] = step.hop;
          }
        }
        await store(1, last);

        const path = `${url}/api/streams/${type}/events?schema=latest&from=beginning`;
        const follower = await openEventStream(path);
        await follower.until("history has come", () => follower.events().length === stored.length);
        await store(1 + (history.length % (hops.length + 1)), last);
        await follower.until("the live end has come", () => follower.events().length === stored.length);
        follower.close();

        const { events } = (await send<{ events: Envelope[] }>(`${path}&limit=1000`)).body;
        expect(events.map((event) => [event.schemaversion, event.data, event.upcasterror !== undefined])).toEqual(
          stored.map((one) => {
            const shape = folded(one, hops);
            return shape === null ? [`${one.version}`, one.data, true] : [`${hops.length + 1}`, shape, false];
          }),
        );
        const lines = await fetch(path, { headers: { accept: "application/x-ndjson" } }).then((answer) =>
          answer.text(),
        );
        const replayed = lines.split("\n").filter(Boolean);
        expect(replayed.map((line) => JSON.parse(line))).toEqual(events);
        const frames = follower.frames.filter(({ event, data: text }) => event === null && text !== null);
        expect(frames.map((frame) => frame.data as string)).toEqual(replayed);
      } finally {
        await service.stop();
      }
    }),
    { numRuns: 25 },
  );
}, 300_000);
