// The floor plan as rules: a file imports from its own folder or from a lower floor, never upwards, never in a circle.

const lower = { base: [] };
lower.storage = ["base"];
lower.stream = ["storage", ...lower.storage];
lower.subscription = ["stream", ...lower.stream];
lower.workflow = ["subscription", ...lower.subscription];
lower.delivery = ["subscription", ...lower.subscription];
lower.http = ["workflow", "delivery", "dashboard", ...lower.delivery];
lower.ops = ["workflow", "delivery", ...lower.delivery];

// Beside the floors: samples see the public face of workflow, client and dashboard nothing of the server.
lower.samples = ["workflow/index.ts"];
lower.client = [];
lower.dashboard = ["client"];

const places = Object.keys(lower);

const floors = places.map((folder) => {
  const allowed = [folder, ...lower[folder]].map((place) => (place.endsWith(".ts") ? `${place}$` : `${place}/`));
  return {
    name: `floor-${folder}`,
    comment: `${folder} may import from: ${[folder, ...lower[folder]].join(", ")}`,
    severity: "error",
    from: { path: `^src/${folder}/` },
    to: { path: "^src/", pathNot: `^src/(${allowed.join("|")})` },
  };
});

const forbid = (name, comment, from, to) => ({ name, comment, severity: "error", from, to });

module.exports = {
  forbidden: [
    ...floors,
    forbid("app-below-main", "nothing imports main.ts", {}, { path: "^src/main\\.ts$" }),
    forbid(
      "config-for-app",
      "only main.ts, app.ts and wiring read config.ts",
      { pathNot: "^src/((main|app)\\.ts$|wiring/)" },
      { path: "^src/config\\.ts$" },
    ),
    forbid(
      "config-below-app",
      "config.ts knows nothing of app.ts and wiring",
      { path: "^src/config\\.ts$" },
      { path: "^src/(app\\.ts$|wiring/)" },
    ),
    forbid(
      "wiring-for-app",
      "app.ts alone wires; main.ts opens the database where it needs no more",
      { pathNot: "^src/(app\\.ts$|wiring/)" },
      { path: "^src/wiring/", pathNot: "^src/wiring/database\\.ts$" },
    ),
    forbid("wiring-below-app", "wiring knows nothing of app.ts", { path: "^src/wiring/" }, { path: "^src/app\\.ts$" }),
    forbid(
      "known-place",
      "every file of src has its place in the floor plan",
      { path: "^src/", pathNot: `^src/((main|app|config)\\.ts$|(wiring|${places.join("|")})/)` },
      {},
    ),
    forbid(
      "nats-in-one-place",
      "one file knows the package nats; the others know JetStream by jetstream.ts",
      { path: "^src/", pathNot: "^src/delivery/bridge/nats\\.ts$" },
      { path: "(^|/)node_modules/nats/" },
    ),
    forbid("no-cycle", "imports never form a circle", {}, { circular: true }),
    forbid(
      "no-orphan",
      "a file that imports nothing and is imported by nothing is dead",
      { orphan: true, pathNot: "^src/((main|config)\\.ts$|(client|samples|dashboard)/)|\\.d\\.ts$" },
      {},
    ),
    forbid(
      "production-only",
      "src uses neither devDependencies nor tests nor scripts",
      { path: "^src/" },
      { path: "^(test|scripts)/" },
    ),
    forbid(
      "no-dev-dependency",
      "src uses neither devDependencies nor packages that package.json does not name",
      { path: "^src/" },
      { dependencyTypes: ["npm-dev", "npm-no-pkg", "npm-unknown"] },
    ),
    forbid("resolvable", "an import leads somewhere", {}, { couldNotResolve: true }),
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsConfig: { fileName: "tsconfig.json" },
    // Also sees `import type`, which is gone after compilation.
    tsPreCompilationDeps: true,
    builtInModules: { add: ["bun", "bun:ffi", "bun:jsc", "bun:sqlite", "bun:test"] },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["bun", "import", "types", "default"] },
  },
};
