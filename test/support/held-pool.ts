// A pool whose statements can be held back, for tests of what happens while one is under way.
import type postgres from "postgres";
import type { Pool } from "../../src/storage/pool.ts";

export type Hold = {
  /** Statements that wait. */
  waiting: () => number;
  /** Those that come from here on do not wait. */
  pass: () => void;
  /** Lets those go that wait now. */
  step: () => void;
  /** Lets all go. */
  release: () => void;
};

export type HeldPool = Pool & {
  /** From here on, statements with this text wait: before they are sent, or with their answers. */
  hold: (text: string, which: "statement" | "answer") => Hold;
};

export function createHeldPool(pool: Pool): HeldPool {
  const holds = new Set<{ text: string; which: "statement" | "answer"; meet: () => Promise<void> }>();

  async function meet(texts: readonly string[], at: "statement" | "answer"): Promise<void> {
    for (const { text, which, meet } of [...holds])
      if (which === at && texts.some((sent) => sent.includes(text))) await meet();
  }

  /** Notes what is sent; a query of postgres.js is sent when it is awaited. */
  const noting = (sql: postgres.Sql, texts: string[]) =>
    new Proxy(sql, {
      apply(target, self, given) {
        const query = Reflect.apply(target, self, given);
        const [strings] = given as [unknown];
        if (!Array.isArray(strings)) return query;
        texts.push(strings.join("?"));
        if (![...holds].some(({ text, which }) => which === "statement" && texts.at(-1)?.includes(text))) return query;
        return meet(texts.slice(-1), "statement").then(() => query);
      },
    });

  return {
    async run(task, signal) {
      const texts: string[] = [];
      const result = await pool.run((sql) => task(noting(sql, texts)), signal);
      await meet(texts, "answer");
      return result;
    },
    stop: pool.stop,
    hold(text, which) {
      const waiting = new Set<() => void>();
      const held = { text, which, meet: () => new Promise<void>((resolve) => void waiting.add(resolve)) };
      holds.add(held);
      const pass = () => void holds.delete(held);
      const step = () => {
        for (const resolve of waiting) resolve();
        waiting.clear();
      };
      return {
        waiting: () => waiting.size,
        pass,
        step,
        release() {
          pass();
          step();
        },
      };
    },
  };
}
