// The check sees imports that break the floor plan, also those of types, which vanish in compilation.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dir, "../..");

const files = {
  "base/errors.ts": `import type { Pool } from "../storage/pool.ts"; export type Errors = Pool;`,
  "storage/pool.ts": `import { clock } from "../base/clock.ts"; export type Pool = typeof clock;`,
  "base/clock.ts": `import { config } from "../config.ts"; export const clock = config;`,
  "config.ts": `export const config = 1;`,
  "delivery/hub.ts": `import { workflow } from "../workflow/index.ts"; export const hub = workflow;`,
  "http/server.ts": `import { health } from "../ops/health.ts"; export const server = health;`,
  "ops/health.ts": `import { workflow } from "../workflow/index.ts"; export const health = workflow;`,
  "samples/orders.ts": `import { saga } from "../workflow/saga.ts"; export const orders = saga;`,
  "samples/users.ts": `import { workflow } from "../workflow/index.ts"; export const users = workflow;`,
  "workflow/index.ts": `export { saga as workflow } from "./saga.ts";`,
  "workflow/saga.ts": `export const saga = 1;`,
  "client/client.ts": `export const load = () => import("../base/clock.ts");`,
  "base/one.ts": `import { two } from "./two.ts"; export const one = () => two;`,
  "base/two.ts": `import { one } from "./one.ts"; export const two = () => one;`,
  "base/alone.ts": `export const alone = 1;`,
  "misc/any.ts": `import "../base/one.ts";`,
};

let folder: string;
let violations: string[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-floors-"));
  await cp(join(root, "tsconfig.json"), join(folder, "tsconfig.json"));
  for (const [name, text] of Object.entries(files)) await Bun.write(join(folder, "src", name), text);

  const tool = join(root, "node_modules/.bin/depcruise");
  const rules = join(root, "scripts/dependency-cruiser.cjs");
  const command = [process.execPath, "--bun", tool, "--config", rules, "--output-type", "json", "src"];
  const { stdout } = Bun.spawnSync(command, { cwd: folder, stdout: "pipe" });
  const found: { rule: { name: string }; from: string }[] = JSON.parse(stdout.toString()).summary.violations;
  violations = found.map(({ rule, from }) => `${rule.name}: ${from.replace("src/", "")}`).sort();
});

afterAll(() => rm(folder, { recursive: true }));

test("each forbidden import is reported, and no other", () => {
  expect(violations).toEqual([
    "config-for-app: base/clock.ts",
    "floor-base: base/clock.ts",
    "floor-base: base/errors.ts",
    "floor-client: client/client.ts",
    "floor-delivery: delivery/hub.ts",
    "floor-http: http/server.ts",
    "floor-samples: samples/orders.ts",
    "known-place: misc/any.ts",
    "no-cycle: base/one.ts",
    "no-orphan: base/alone.ts",
  ]);
});
