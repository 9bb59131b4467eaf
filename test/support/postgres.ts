// One Postgres for all test files of a process, and a database of its own for each of them, copied from a migrated template.
import postgres from "postgres";
import type { KeptPostgres } from "./postgres-keeper.ts";

export const testSchema = "event_streaming";

type Keeper = { kept: KeptPostgres; stop: () => Promise<void> };

let shared: Promise<Keeper> | null = null;
let databases = 0;
let creating: Promise<unknown> = Promise.resolve();

async function startKeeper(): Promise<Keeper> {
  const keeper = Bun.spawn([process.execPath, new URL("postgres-keeper.ts", import.meta.url).pathname], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "inherit",
  });
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of keeper.stdout) {
    text += decoder.decode(chunk, { stream: true });
    if (text.endsWith("\n")) break;
  }
  if (!text.endsWith("\n")) throw new Error(`the Postgres for the tests ended with ${await keeper.exited}`);
  // The tests do not wait for it to end; it ends when they do.
  keeper.unref();
  return {
    kept: JSON.parse(text),
    async stop() {
      await keeper.stdin.end();
      await keeper.exited;
    },
  };
}

/** The URL (over TCP) of a new database with the schema and no events. */
export async function createTestDatabase(): Promise<string> {
  shared ??= startKeeper();
  const { url, template } = (await shared).kept;
  const name = `test_${++databases}`;
  // Copies of one template must not overlap.
  creating = creating.then(async () => {
    const sql = postgres(url, { database: "postgres", max: 1, onnotice() {} });
    await sql.unsafe(`create database ${name} template ${template}`).finally(() => sql.end());
    // A copy is a history of its own: services tell their events apart by it.
    const own = postgres(url, { database: name, max: 1, onnotice() {} });
    await own.unsafe(`update ${testSchema}.log set log_id = gen_random_uuid()`).finally(() => own.end());
  });
  await creating;
  return Object.assign(new URL(url), { pathname: `/${name}` }).href;
}

/** Stops the Postgres, if a test has started it. */
export async function stopSharedPostgres(): Promise<void> {
  await (await shared)?.stop();
  shared = null;
}
