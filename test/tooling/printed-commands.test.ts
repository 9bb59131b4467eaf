// The commands that the pages print run as they are printed, and their answers are those that are shown.
import { expect, test } from "bun:test";
import { missingLines, printedBlocks, type RunBlock, runPrinted } from "../support/printed-commands.ts";
import { startService } from "../support/service.ts";

const root = new URL("../../", import.meta.url);

async function run(page: string): Promise<{ ran: RunBlock[]; failed: string[] }> {
  const service = await startService({ MODULES: "" });
  try {
    return await runPrinted(printedBlocks(await Bun.file(new URL(page, root)).text()), service.url);
  } finally {
    await service.stop();
  }
}
const outputOf = (ran: readonly RunBlock[], heading: string) =>
  ran.flatMap((block) => (block.heading === heading ? [block.output()] : [])).join("\n");
const typesIn = (output: string) => [...output.matchAll(/^data: .*?"type":"(\w+)"/gm)].map(([, type]) => type);

const printed = test.skipIf(Bun.which("curl") === null);

printed(
  "README.md",
  async () => {
    const { ran, failed } = await run("README.md");
    // It shows what a conflict looks like, and what commands refuse.
    const refused = [`'If-Match: "1"'`, '"nobody"', '"eve@example.com"', '"too late"'];
    expect(failed).toEqual(refused.map((words) => expect.stringContaining(words)));
    const shown = ran.filter((block) => block.shown !== null);
    expect(shown.length).toBeGreaterThan(5);
    for (const { heading, shown: text, output } of shown)
      expect({ heading, missing: missingLines(text as string, output()), output: output() }).toMatchObject({
        missing: [],
      });
  },
  120_000,
);

printed(
  "docs/queues.md",
  async () => {
    const { ran, failed } = await run("docs/queues.md");
    expect(failed).toEqual([]);
    const of = (heading: string) => outputOf(ran, heading);
    expect(of("A queue in five commands")).toContain('{"results":["settled","settled"]}');
    expect(of("A queue in five commands")).toContain('"pending":"0"');
    const aside = ran.find(({ isAside }) => isAside);
    expect(typesIn(aside?.output() ?? "")).toEqual(["OrderPaid"]);
    expect(of("Acknowledging by hand")).toContain('{"results":["settled"]}');
    const end = of("Terminal events");
    expect(typesIn(end)).toEqual(["CheckoutBegun", "OrderPlaced", "CheckoutDone"]);
    expect(end).toContain('event: sluice.end\ndata: {"reason":"completed"}');
    expect(end).toContain('{"deliveries":[],"completed":true}');
    const counts = [...of("A consumer group, and a member that dies").matchAll(/member-\d\.txt:(\d+)/g)];
    const [a = 0, b = 0, c = 0, ...after] = counts.map(([, count]) => Number(count));
    expect([a + b + c, a > 0, b > 0, c > 0]).toEqual([18, true, true, true]);
    expect([(after[0] ?? 0) + (after[2] ?? 0), after[1]]).toEqual([18, b]);
    const [, unread, read, none] = of("A notification with read receipts").match(
      /\{"count":"(\d+)".*?\{"read":(\d+)\}.*?\{"count":"(\d+)"/s,
    ) as string[];
    expect([unread, read, none]).toEqual(["2", "2", "0"]);
    const live = of("One connection for many");
    expect(live).toContain("event: sluice.ready");
    expect(live).toContain('"deliverysubscription":"billing"');
    expect(typesIn(live)).toContain("OrderPaid");
  },
  120_000,
);

printed(
  "docs/schemas.md",
  async () => {
    const { ran, failed } = await run("docs/schemas.md");
    // It shows what is refused.
    expect(failed).toEqual([expect.stringContaining('"nam"')]);
    const shown = ran.filter((block) => block.shown !== null);
    expect(shown).toHaveLength(6);
    for (const { heading, shown: text, output } of shown)
      expect({ heading, missing: missingLines(text as string, output()), output: output() }).toMatchObject({
        missing: [],
      });
  },
  120_000,
);

test("what a page shows and nothing answers is found", () => {
  const shown = '{"results":["settled"]}\n{"id":"01a1fc68-7a85-7000-9ca3-82fb640c7ea1",…,"length":"0"}\n';
  const same = '{"results":["settled"]}{"id":"01a1fe85-5167-7000-84d0-bc7b11556ee3","a":1,"length":"0"}';
  expect(missingLines(shown, same)).toEqual([]);
  expect(missingLines(shown, same.replace('"length":"0"', '"length":"1"'))).toHaveLength(1);
  expect(missingLines(shown, same.slice(23))).toEqual(['{"results":["settled"]}']);
});
