// What scripts/new-module makes compiles, passes its own test, and runs in a service.
import { afterAll, expect, test } from "bun:test";
import { rm, writeFile } from "node:fs/promises";
import { send } from "../support/client.ts";
import { startService } from "../support/service.ts";

const root = new URL("../../", import.meta.url).pathname;
// A module imports the service by its name, so it lies within the project.
const folder = `.data/new-module-${process.pid}`;
afterAll(() => rm(root + folder, { recursive: true, force: true }));

function run(...command: string[]): { exitCode: number; output: string } {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command, { cwd: root, stdout: "pipe", stderr: "pipe" });
  return { exitCode, output: `${stdout}${stderr}` };
}

test("a new module compiles, passes its test, and its printed command runs", async () => {
  const made = run("scripts/new-module", "guest-book", folder);
  expect(made).toMatchObject({ exitCode: 0 });
  await writeFile(
    `${root}${folder}/tsconfig.json`,
    JSON.stringify({ extends: "../../tsconfig.json", include: ["*.ts"], compilerOptions: { types: ["bun"] } }),
  );
  expect(run(process.execPath, "--bun", "node_modules/.bin/tsc", "--noEmit", "-p", folder)).toEqual({
    exitCode: 0,
    output: "",
  });
  expect(run(process.execPath, "test", `./${folder}/guest-book.test.ts`)).toMatchObject({ exitCode: 0 });
  const service = await startService({ MODULES: `${root}${folder}/guest-book.ts` });
  try {
    const [, path = "", body = ""] = /curl http:\/\/127\.0\.0\.1:8080(\S+) -d '(.*)'/.exec(made.output) ?? [];
    const answer = await send<{ events: { stream: string }[] }>(service.url + path, { method: "POST", body });
    expect([answer.status, answer.body.events[0]?.stream]).toEqual([201, "guest-book-1"]);
  } finally {
    await service.stop();
  }
});

test("a name that is none, and a file that is there, are refused", () => {
  expect(run("scripts/new-module", "Guest Book", folder)).toMatchObject({ exitCode: 2 });
  expect(run("scripts/new-module", "../out", folder)).toMatchObject({ exitCode: 2 });
  expect(run("scripts/new-module", "guest-book", folder)).toMatchObject({ exitCode: 1 });
});
