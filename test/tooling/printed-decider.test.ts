// The decider that a page prints, and its specifications, hold as they are printed.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { loadModules } from "../../src/workflow/module/load-modules.ts";

const root = new URL("../../", import.meta.url).pathname;
let folder = "";
beforeAll(async () => {
  // A module imports the service by its name, so it stands within its folder.
  folder = await mkdtemp(join(root, "test/.decider-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test("the printed decider is a module, and its specifications hold", async () => {
  const page = await Bun.file(join(root, "docs/deciders.md")).text();
  const [bank, specifications, ...more] = [...page.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(
    (block) => block[1] as string,
  );
  expect(more).toEqual([]);
  await writeFile(join(folder, "bank.ts"), bank as string);
  const [module] = await loadModules([join(folder, "bank.ts")]);
  expect(module?.deciders.map(({ name, commands }) => [name, commands.length])).toEqual([["account", 3]]);
  await writeFile(join(folder, "holds.ts"), specifications as string);
  await import(join(folder, "holds.ts"));
  const wrong = (specifications as string).replace("balance: 30 }", "balance: 31 }");
  await writeFile(join(folder, "wrong.ts"), wrong);
  expect(await import(join(folder, "wrong.ts")).catch((error: Error) => error.message)).toStartWith(
    "the result should be",
  );
});
