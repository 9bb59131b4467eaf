// The page of the outbox: its SQL and its commands run as they are printed, in their order, and answer what is shown.
import { expect, test } from "bun:test";
import postgres from "postgres";
import { readAll } from "../support/client.ts";
import { outboxState } from "../support/outbox.ts";
import { missingLines, printedBlocks, runPrinted } from "../support/printed-commands.ts";
import { startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";
import { until } from "../support/until.ts";

const page = new URL("../../docs/outbox.md", import.meta.url);

test.skipIf(Bun.which("curl") === null)(
  "docs/outbox.md",
  async () => {
    const text = await Bun.file(page).text();
    const service = await startService();
    const people = postgres(service.databaseUrl, { max: 1, onnotice() {} });
    const sql = openSql(service.databaseUrl);
    let answers = 0;
    try {
      // Blocks of commands run one after the other with the SQL that stands before them.
      for (const part of text.split(/(?=^```sql$)/m)) {
        const [, statements] = /^```sql\n([\s\S]*?)^```$/m.exec(part) ?? [];
        if (statements !== undefined) await people.unsafe(statements);
        await until("nothing waits", async () => (await outboxState(sql)).waiting === 0);
        const { ran, failed } = await runPrinted(printedBlocks(part), service.url);
        expect(failed).toEqual([]);
        for (const { shown, output } of ran) {
          if (shown === null) continue;
          answers++;
          expect({ missing: missingLines(shown, output()), output: output() }).toMatchObject({ missing: [] });
        }
      }
      expect(answers).toBe(3);
      await until("the mended row is there", async () => (await readAll(service.url, "orders")).length === 4);
      expect((await readAll(service.url, "orders")).map((event) => [event.type, event.tenant])).toEqual([
        ["OrderPlaced", undefined],
        ["InvoiceWanted", "acme"],
        ["OrderChanged", undefined],
        ["OrderPlaced", "acme"],
      ]);
      expect(await outboxState(sql)).toEqual({ waiting: 0, failures: [] });
    } finally {
      await people.unsafe("drop owned by shop; drop role shop").catch(() => {});
      await people.end();
      await sql.end();
      await service.stop();
    }
  },
  120_000,
);
