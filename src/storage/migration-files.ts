// Reads and checks the SQL files that make up the schema.
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** One numbered, immutable step. */
export interface Migration extends SqlFile {
  version: number;
  name: string;
}

/** A file, by its path below the folder of all SQL files. */
export interface SqlFile {
  path: string;
  text: string;
  checksum: string;
}

/** All files of the schema. */
export interface MigrationFiles {
  /** In order, numbered from 1 without gaps. */
  migrations: Migration[];
  functions: SqlFile[];
  views: SqlFile[];
  /** Changes when a function or a view is added, changed or removed. */
  routinesChecksum: string;
}

/** The folder `sql` of this program. */
const sqlFolder = fileURLToPath(new URL("../../sql", import.meta.url));

/** Reads `<dir>/migrations/NNNN_name.sql`, `functions/**.sql` and `views/**.sql`; throws on a bad name, a gap or a double. */
export async function readMigrationFiles(dir: string = sqlFolder): Promise<MigrationFiles> {
  const [steps, functions, views] = await Promise.all(["migrations", "functions", "views"].map((f) => read(dir, f)));
  const migrations = (steps ?? []).map(asMigration);
  migrations.forEach(({ version, path }, index) => {
    const previous = migrations[index - 1];
    if (version === previous?.version)
      throw new Error(`Two migrations have number ${version}: ${previous.path}, ${path}`);
    if (version !== index + 1) throw new Error(`Migration ${index + 1} is missing: the next file is ${path}`);
  });
  const routines = [...(functions ?? []), ...(views ?? [])];
  const routinesChecksum = sha256(routines.map(({ path, checksum }) => `${path} ${checksum}\n`).join(""));
  return { migrations, functions: functions ?? [], views: views ?? [], routinesChecksum };
}

async function read(dir: string, folder: string): Promise<SqlFile[]> {
  const names = await readdir(join(dir, folder), { recursive: true }).catch((error) => {
    if (error.code === "ENOENT" && folder !== "migrations") return [];
    throw new Error(`Cannot read the SQL files in ${join(dir, folder)}: ${error.message}`);
  });
  const paths = names.filter((name) => name.endsWith(".sql")).sort();
  return Promise.all(
    paths.map(async (name) => {
      // A check-out with other line ends must not look like a change.
      const text = (await readFile(join(dir, folder, name), "utf8")).replaceAll("\r\n", "\n");
      return { path: `${folder}/${name.replaceAll("\\", "/")}`, text, checksum: sha256(text) };
    }),
  );
}

function asMigration(file: SqlFile): Migration {
  const [, number, name] = /^migrations\/(\d{4})_([a-z0-9_]+)\.sql$/.exec(file.path) ?? [];
  if (!number || !name) throw new Error(`${file.path} is not named like migrations/0001_what_it_does.sql`);
  return { ...file, version: Number(number), name };
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
