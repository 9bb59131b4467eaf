// The module and the commands that the page about projections prints run as they are printed.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { missingLines, printedBlocks, runPrinted } from "../support/printed-commands.ts";
import { startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";

const root = new URL("../../", import.meta.url).pathname;
let folder = "";

beforeAll(async () => {
  // A module imports the service by its name, so it stands within its folder.
  folder = await mkdtemp(join(root, "test/.module-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test.skipIf(Bun.which("curl") === null)(
  "docs/projections.md",
  async () => {
    const page = await Bun.file(join(root, "docs/projections.md")).text();
    const blocks = (language: string) => [
      ...page.matchAll(new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\`$`, "gm")),
    ];
    const file = join(folder, "library.ts");
    await writeFile(file, blocks("ts")[0]?.[1] as string);
    const service = await startService({ MODULES: file });
    const sql = openSql(service.databaseUrl);
    try {
      const { ran, failed } = await runPrinted(printedBlocks(page), service.url);
      // It shows what becomes of a skip where nothing fails.
      expect(failed).toEqual([expect.stringContaining("/skip")]);
      for (const { heading, shown, output } of ran) {
        if (shown === null) continue;
        expect({ heading, missing: missingLines(shown, output()), output: output() }).toMatchObject({ missing: [] });
      }
      const outputs = ran.map(({ output }) => output()).join("\n");
      expect(outputs).toContain('"row":{"book":"Walden","reader":"ada"');
      expect(outputs).toContain('"rebuild":null');
      const [, statements = ""] = blocks("sql")[0] ?? [];
      const [byReader, loans] = await Promise.all(
        statements
          .split(";\n")
          .slice(0, 2)
          .map((statement) => sql.unsafe(statement)),
      );
      expect(new Set(byReader?.map(({ reader }) => reader))).toEqual(new Set(["ada", "bob"]));
      expect(loans?.length).toBe(2);
    } finally {
      await sql.end();
      await service.stop();
    }
  },
  120_000,
);
