// The tutorial: what it prints is its module, and its commands answer what is shown.
import { expect, test } from "bun:test";
import { missingLines, printedBlocks, runPrinted } from "../support/printed-commands.ts";
import { startService } from "../support/service.ts";

const folder = new URL("../../docs/tutorial/", import.meta.url).pathname;
const page = await Bun.file(`${folder}README.md`).text();

test("the printed pieces, one after the other, are the module", async () => {
  const specifications = await Bun.file(`${folder}shopping-cart.test.ts`).text();
  const printed = [...page.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, piece]) => piece as string);
  const pieces = printed.filter((piece) => !piece.startsWith("test("));
  expect(pieces.join("\n")).toBe(await Bun.file(`${folder}shopping-cart.ts`).text());
  const specified = printed.filter((piece) => piece.startsWith("test("));
  expect(specified.length).toBeGreaterThan(0);
  for (const piece of specified) expect(specifications).toContain(piece);
});

test.skipIf(Bun.which("curl") === null)(
  "its commands answer what is shown",
  async () => {
    const service = await startService({ MODULES: `${folder}shopping-cart.ts` });
    try {
      const { ran, failed } = await runPrinted(printedBlocks(page), service.url);
      // It shows two refusals.
      expect(failed).toEqual([expect.stringContaining('"quantity":5'), expect.stringContaining("check-out")]);
      const shown = ran.filter((block) => block.shown !== null);
      expect(shown).toHaveLength(7);
      for (const { heading, shown: text, output } of shown)
        expect({ heading, missing: missingLines(text as string, output()), output: output() }).toMatchObject({
          missing: [],
        });
    } finally {
      await service.stop();
    }
  },
  120_000,
);
