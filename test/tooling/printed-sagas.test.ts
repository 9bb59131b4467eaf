// The page of sagas: its module compiles and is loaded as it is printed, and its commands answer what is shown.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { missingLines, printedBlocks, runPrinted } from "../support/printed-commands.ts";
import { startService } from "../support/service.ts";

const root = new URL("../../", import.meta.url).pathname;
let folder = "";
beforeAll(async () => {
  // A module imports the service by its name, so it stands within its folder.
  folder = await mkdtemp(join(root, "test/.module-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test.skipIf(Bun.which("curl") === null)(
  "docs/sagas.md",
  async () => {
    const page = await Bun.file(join(root, "docs/sagas.md")).text();
    const [, printed = ""] = /^```ts\n([\s\S]*?)^```$/m.exec(page) ?? [];
    const file = join(folder, "bookings.ts");
    await writeFile(file, printed);
    await writeFile(
      join(folder, "tsconfig.json"),
      JSON.stringify({ extends: "../../tsconfig.json", include: ["*.ts"], compilerOptions: { types: ["bun"] } }),
    );
    const compiled = Bun.spawnSync([process.execPath, "--bun", "node_modules/.bin/tsc", "--noEmit", "-p", folder], {
      cwd: root,
    });
    expect(compiled.stdout.toString()).toBe("");
    const service = await startService({ MODULES: file });
    try {
      const { ran, failed } = await runPrinted(printedBlocks(page), service.url);
      expect(failed).toEqual([]);
      const shown = ran.filter((block) => block.shown !== null);
      expect(shown).toHaveLength(3);
      for (const { heading, shown: text, output } of shown)
        expect({ heading, missing: missingLines(text as string, output()), output: output() }).toMatchObject({
          missing: [],
        });
      const story = ran.find(({ isAside }) => isAside)?.output() ?? "";
      const types = [...story.matchAll(/^data: .*?"type":"([\w.-]+)"/gm)].map(([, type]) => type);
      // Across streams the outbox promises no order.
      expect(types.filter((type) => type?.startsWith("sluice."))).toEqual(
        ["started", "step-completed", "step-waiting", "step-completed", "step-waiting", "step-completed"]
          .concat("step-completed", "completed")
          .map((type) => `sluice.saga-${type}`),
      );
      expect(types.filter((type) => !type?.startsWith("sluice.")).sort()).toEqual(["PaymentReceived", "SeatReserved"]);
    } finally {
      await service.stop();
    }
  },
  120_000,
);
