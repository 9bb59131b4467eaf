// A client whose types are generated from the document compiles, and its compiler finds wrong uses.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import openapiTypescript, { astToString } from "openapi-typescript";
import ts from "typescript";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-client-"));
  const document = new URL("../../openapi.json", import.meta.url);
  await writeFile(join(folder, "sluice.ts"), astToString(await openapiTypescript(document)));
});
afterAll(() => rm(folder, { recursive: true }));

/** What the strict compiler says of programs that use the types, each line with the file's name. */
async function compile(programs: Record<string, string>): Promise<string[]> {
  const files = Object.keys(programs).map((name) => join(folder, name));
  for (const [n, program] of Object.values(programs).entries())
    await writeFile(
      files[n] as string,
      `import type { components, operations, paths } from "./sluice.ts";\n${program}`,
    );
  const compiled = ts.createProgram(files, {
    strict: true,
    noEmit: true,
    skipDefaultLibCheck: true,
    allowImportingTsExtensions: true,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    target: ts.ScriptTarget.ESNext,
    types: [],
  });
  return ts
    .getPreEmitDiagnostics(compiled)
    .map(
      ({ file, messageText }) =>
        `${basename(file?.fileName ?? "")}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`,
    );
}

const client = `
type Append = paths["/api/streams/{name}/events"]["post"];
type Body = NonNullable<Append["requestBody"]>["content"]["application/json"];
type Appended = Append["responses"]["201"]["content"]["application/json"];
type Page = operations["readStream"]["responses"]["200"]["content"]["application/json"];
type Problem = components["schemas"]["Problem"];

export async function append(base: string, stream: string, body: Body): Promise<Appended> {
  const answer = await fetch(\`\${base}/api/streams/\${stream}/events\`, { method: "POST", body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(((await answer.json()) as Problem).title);
  return (await answer.json()) as Appended;
}

export async function read(url: string): Promise<string[]> {
  const page = (await (await fetch(url)).json()) as Page;
  return page.events.map((event) => event.id + event.offset);
}
`;

test("a client made of the types compiles; an event without a type, or with a number for an id, does not", async () => {
  // Most of the time goes into the types, which are read once for both.
  const found = await compile({
    "right.ts": `${client}append("", "orders", { type: "Placed", data: { total: 1 } }).then((a) => a.events[0]?.offset.length);`,
    "wrong.ts": `${client}append("", "s", { data: 1 });\nappend("", "s", { type: "A", id: 7 });`,
  });
  expect(found.map((line) => line.slice(0, 9))).toEqual(["wrong.ts:", "wrong.ts:"]);
}, 120_000);
