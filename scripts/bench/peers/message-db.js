// Appends with Message DB: its SQL installed as its install.sh does, its function write_message called for each event.
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import postgres from "postgres";
import { event, measure, options } from "./load.js";

const folder = fileURLToPath(new URL("database/", import.meta.resolve("@eventide/message-db/package.json")));
const { host, port, username, database, connections } = options;
const sql = postgres({
  host,
  port,
  username,
  database,
  max: connections,
  fetch_types: false,
  onnotice() {},
  // Its functions name one another without the schema.
  connection: { search_path: "message_store, public" },
});

/** The SQL files that one of its shell scripts runs, in that script's order. */
async function filesOf(script) {
  const text = await readFile(`${folder}${script}`, "utf8");
  return [...text.matchAll(/\$base\/([\w/-]+\.sql)/g)].map(([, file]) => file);
}

async function install() {
  const scripts = [
    "install.sh",
    "install-functions.sh",
    "install-indexes.sh",
    "install-views.sh",
    "install-privileges.sh",
  ];
  for (const script of scripts) {
    for (const file of await filesOf(script)) await sql.unsafe(await readFile(`${folder}${file}`, "utf8"));
  }
}

if (options.prepareOnly) await install();
else {
  const data = JSON.stringify(event.data);
  // A write locks its stream's category until it commits. Each stream has one of its own here: what suits it best.
  await measure(
    (stream) =>
      sql`select message_store.write_message(${randomUUID()}, ${`order${stream}-1`}, ${event.type}, ${data}::text::jsonb)`,
  );
}
await sql.end({ timeout: 5 });
process.exit(0);
