// Modules for tests: written as files, loaded by services, and told apart by what they note.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const publicFace = new URL("../../src/workflow/index.ts", import.meta.url).pathname;

export type ModuleFiles = {
  /** A file of this code, which begins behind the imports of all that modules are written with, and `note`. */
  write: (code: string) => Promise<string>;
  /** What modules loaded in this process have noted. */
  notes: unknown[];
  remove: () => Promise<void>;
};

let spaces = 0;

export async function createModuleFiles(): Promise<ModuleFiles> {
  const folder = await mkdtemp(join(tmpdir(), "sluice-modules-"));
  const space = `moduleNotes${++spaces}`;
  const notes: unknown[] = [];
  (globalThis as unknown as Record<string, unknown>)[space] = notes;
  const head = `import * as sluice from ${JSON.stringify(publicFace)};
    const { defineEvent, defineModule, defineStream, defineSubscription, Type } = sluice;
    const note = (what: unknown) => (globalThis as any).${space}?.push(what);
    const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));\n`;
  let files = 0;
  return {
    async write(code) {
      // What is imported once stays as it was, so that each has a name of its own.
      const path = join(folder, `module-${++files}.ts`);
      await writeFile(path, head + code);
      return path;
    },
    notes,
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}
