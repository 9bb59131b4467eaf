// The documents of projections.
import type { ProblemCode } from "../../base/errors.ts";
import type { ProjectionStatus, Rebuild } from "../../workflow/projections/status.ts";
import { projectionName, RebuildInput, SkipInput } from "../projections.ts";
import { cursor, decimal } from "./event-schemas.ts";
import { component, type Operation, problems, type ResponseObject, type Schema, serviceFailures } from "./operation.ts";
import { use } from "./parameters.ts";

const orNull = (schema: Schema): Schema => ({ anyOf: [schema, { type: "null" }] });
const time = (description: string): Schema => ({ type: "string", format: "date-time", description });
const text = (description: string): Schema => ({ type: "string", description });
const whole = (description: string): Schema => ({ type: "integer", description });
const textOrNull = (description: string): Schema => ({ type: ["string", "null"], description });
const names = (description: string): Schema => ({ type: ["array", "null"], items: { type: "string" }, description });
/** All members are always there. */
const record = (properties: Record<string, Schema>, description?: string): Schema => ({
  type: "object",
  ...(description === undefined ? {} : { description }),
  properties,
  required: Object.keys(properties),
});

const position = cursor("Everything up to this position of the log is in its tables; -1 before the first");
const trouble = {
  failedPosition: orNull(decimal("The position of the event that fails; null when none does")),
  attempts: whole("How often that event was tried"),
  lastError: textOrNull("What was wrong the last time that something was"),
  lastErrorAt: orNull(time("When that was")),
};
const states = {
  running: "it is kept up to date",
  retrying: "an event fails, and is tried again",
  failed: "it has stopped at an event, which can be skipped or tried again, or its tables cannot be made",
  paused: "it waits to be resumed",
  unattended: "no process runs it: none that has its module, or its holder has just died",
};
const inWords = (all: Record<string, string>) =>
  Object.entries(all)
    .map(([state, meaning]) => `${state}: ${meaning}`)
    .join("; ");

const rebuild: { [Key in keyof Rebuild]: Schema } = {
  state: {
    enum: ["requested", ...Object.keys(states)],
    description: inWords({ requested: "it has not begun", ...states }),
  },
  version: { type: ["integer", "null"], description: "Of the definition that it is built by" },
  generation: { type: ["integer", "null"], description: "Its number" },
  position,
  eventsProcessed: decimal("Events that were handled"),
  startedAt: orNull(time("When it began")),
  ...trouble,
};

const status: { [Key in keyof ProjectionStatus]: Schema } = {
  name: component("schemas", "ProjectionName"),
  description: textOrNull("For people"),
  form: {
    enum: ["fold", "sql", null],
    description: "fold: rows of one table, which are read here; sql: tables of its own. Null before it has tables",
  },
  streams: names("Whose events it gets; null: those of all persistent streams"),
  types: names("The types that it handles; null: all"),
  state: {
    enum: ["starting", ...Object.keys(states)],
    description: inWords({ starting: "it has no tables yet", ...states }),
  },
  paused: { type: "boolean", description: "It was paused, whatever else there is to say of it" },
  version: { type: ["integer", "null"], description: "Of the definition that made the tables which answer" },
  generation: { type: ["integer", "null"], description: "The number of these tables: a rebuild makes new ones" },
  position,
  head: cursor("The last position of the log"),
  lag: decimal("Positions of the log that it has yet to look at"),
  lagSeconds: { type: "number", description: "How long the first of them has been in the log" },
  eventsProcessed: decimal("Events that were handled, since the beginning of its tables"),
  failures: decimal("Tries that failed"),
  ...trouble,
  skipped: {
    type: "array",
    items: decimal("A position"),
    description: "The last 20 events that it was told to do without",
  },
  rebuild: orNull(component("schemas", "ProjectionRebuild")),
  snapshots: {
    type: "array",
    description: "Copies of its tables, the newest last",
    items: record({
      generation: whole("Its number"),
      position,
      eventsProcessed: decimal("Events that were handled until then"),
      takenAt: time("When it was taken"),
    }),
  },
  snapshotRequested: { type: "boolean", description: "One was asked for, and is not there yet" },
  snapshotError: textOrNull("Why the last one could not be taken"),
};

const row: Schema = { type: "object", description: "A row, as its module defines it", additionalProperties: true };

/** The schemas of the components, by name. */
export const projectionSchemas: Record<string, Schema> = {
  ProjectionName: {
    type: "string",
    pattern: projectionName.source,
    description: "1 to 63 lower-case letters, digits and hyphens",
    examples: ["user-statistics"],
  },
  Projection: record(status, "How a projection stands"),
  ProjectionRebuild: record(rebuild, "New tables, which are about to take the place of those that answer"),
  ProjectionPage: record({
    projections: { type: "array", items: component("schemas", "Projection") },
    next: textOrNull("A link to the next page; null on the last one"),
  }),
  ProjectionRows: record({
    projection: component("schemas", "ProjectionName"),
    position,
    rows: { type: "array", items: row, description: "In the order of their keys" },
    next: textOrNull("A link to the next page; null on the last one"),
  }),
  ProjectionRow: record({ projection: component("schemas", "ProjectionName"), position, row }),
  ProjectionViews: record({
    projection: component("schemas", "ProjectionName"),
    position,
    views: {
      type: "array",
      items: text("A view, with its schema"),
      description: "By which its tables can be read in SQL",
    },
  }),
};

const example: ProjectionStatus = {
  name: "user-statistics",
  description: "Users by country",
  form: "fold",
  streams: ["users"],
  types: ["UserAdded", "UserRemoved"],
  state: "running",
  paused: false,
  version: 1,
  generation: 1,
  position: "1042",
  head: "1042",
  lag: "0",
  lagSeconds: 0,
  eventsProcessed: "318",
  failures: "0",
  failedPosition: null,
  attempts: 0,
  lastError: null,
  lastErrorAt: null,
  skipped: [],
  rebuild: null,
  snapshots: [],
  snapshotRequested: false,
  snapshotError: null,
};
const failed: ProjectionStatus = {
  ...example,
  state: "failed",
  position: "1040",
  lag: "2",
  lagSeconds: 12.5,
  failures: "5",
  failedPosition: "1041",
  attempts: 5,
  lastError: "undefined is not an object (evaluating 'data.country.code')",
  lastErrorAt: "2026-11-21T10:00:03.117Z",
};
const rebuilding: ProjectionStatus = {
  ...example,
  rebuild: {
    state: "running",
    version: 2,
    generation: 2,
    position: "512",
    eventsProcessed: "150",
    startedAt: "2026-11-21T10:00:00.000Z",
    failedPosition: null,
    attempts: 0,
    lastError: null,
    lastErrorAt: null,
  },
};

const refusals = ["uri-too-long", "invalid-parameter", ...serviceFailures] as const satisfies ProblemCode[];
const decisions = [
  ...refusals,
  "projection-not-found",
  "forbidden",
  "malformed-body",
  "request-timeout",
  "body-too-large",
  "invalid-request",
  "outcome-unknown",
] as const satisfies ProblemCode[];

const described = (description: string, value: ProjectionStatus): ResponseObject => ({
  description,
  content: { "application/json": { schema: component("schemas", "Projection"), examples: { projection: { value } } } },
});

export const listProjections: Operation = {
  operationId: "listProjections",
  summary: "List projections",
  description: "The projections and how they stand, in the order of their names, page by page.",
  tags: ["Projections"],
  parameters: use("ProjectionAfter", "ListLimit"),
  responses: {
    "200": {
      description: "A page of projections.",
      content: {
        "application/json": {
          schema: component("schemas", "ProjectionPage"),
          examples: { page: { value: { projections: [example], next: null } } },
        },
      },
    },
    ...problems(...refusals),
  },
};

const germany = { country: "DE", users: 12, removed: 1 };

export const readProjection: Operation = {
  operationId: "readProjection",
  summary: "Read the read model",
  description:
    "The rows in the order of their keys, page by page, or the one of a key. What a page holds is of one moment, which its position tells; the next page may be of a later one. A projection in SQL answers by which views it can be read. Where a module says itself how its projection is read, the parameters and the answer are the module's, and the position stands in the header alone. With `atLeast` the answer waits until the projection has come to that position, so that who has appended or run a command reads what it has done.",
  tags: ["Projections"],
  parameters: use("ProjectionName", "RowKey", "RowAfter", "ListLimit", "ProjectionAtLeast", "ProjectionWait"),
  responses: {
    "200": {
      description: "What it holds.",
      headers: { "Projection-Position": component("headers", "ProjectionPosition") },
      content: {
        "application/json": {
          schema: {
            anyOf: [
              component("schemas", "ProjectionRows"),
              component("schemas", "ProjectionRow"),
              component("schemas", "ProjectionViews"),
              { description: "What its module makes of the query" },
            ],
          },
          examples: {
            rows: { value: { projection: "user-statistics", position: "1042", rows: [germany], next: null } },
            row: { value: { projection: "user-statistics", position: "1042", row: germany } },
            views: {
              value: { projection: "ledger", position: "1042", views: ["event_streaming_read.ledger__balances"] },
            },
          },
        },
      },
    },
    ...problems(
      ...refusals,
      "projection-not-found",
      "projection-row-not-found",
      "projection-not-ready",
      "projection-behind",
      "cursor-beyond-head",
    ),
  },
};

export const getProjection: Operation = {
  operationId: "getProjection",
  summary: "How a projection stands",
  description: "How far it is, what went wrong, what is being built, and which copies there are.",
  tags: ["Projections"],
  parameters: use("ProjectionName"),
  responses: { "200": described("How it stands.", failed), ...problems(...refusals, "projection-not-found") },
};

export const pauseProjection: Operation = {
  operationId: "pauseProjection",
  summary: "Pause a projection",
  description:
    "Nothing is written to its tables from the answer on, a rebuild included, until it is resumed; it stays so across restarts.",
  tags: ["Projections"],
  parameters: use("ProjectionName"),
  responses: {
    "200": described("It is paused.", { ...example, state: "paused", paused: true }),
    ...problems(...decisions),
  },
};

export const resumeProjection: Operation = {
  operationId: "resumeProjection",
  summary: "Let a projection go on",
  description: "It goes on from where it stands, and tries again the event at which it has stopped, if it has.",
  tags: ["Projections"],
  parameters: use("ProjectionName"),
  responses: { "200": described("It goes on.", example), ...problems(...decisions) },
};

export const skipInProjection: Operation = {
  operationId: "skipInProjection",
  summary: "Do without an event",
  description:
    "The event that fails is left out, and the projection goes on behind it. Only the one that fails can be named: a repeated request skips no other.",
  tags: ["Projections"],
  parameters: use("ProjectionName"),
  requestBody: {
    required: true,
    description: "Read as JSON, whatever the content type says.",
    content: { "application/json": { schema: SkipInput, examples: { request: { value: { position: "1041" } } } } },
  },
  responses: {
    "200": described("It goes on behind the event.", { ...example, skipped: ["1041"] }),
    ...problems(...decisions, "projection-not-failed"),
  },
};

export const rebuildProjection: Operation = {
  operationId: "rebuildProjection",
  summary: "Build a projection anew",
  description:
    "New tables are filled beside those that answer, and take their place once they have come as far. A rebuild that has stopped at an event is begun anew.",
  tags: ["Projections"],
  parameters: use("ProjectionName"),
  requestBody: {
    required: false,
    description: "Read as JSON, whatever the content type says.",
    content: { "application/json": { schema: RebuildInput, examples: { request: { value: { from: "beginning" } } } } },
  },
  responses: {
    "202": described("It is about to begin.", rebuilding),
    ...problems(...decisions, "projection-rebuilding", "no-projection-snapshot"),
  },
};

export const snapshotProjection: Operation = {
  operationId: "snapshotProjection",
  summary: "Take a snapshot of a projection",
  description:
    "Its tables are copied as they are at one moment, while they are written on. The last two snapshots are kept; a rebuild can begin with the newest.",
  tags: ["Projections"],
  parameters: use("ProjectionName"),
  responses: {
    "202": described("It is about to be taken.", { ...example, snapshotRequested: true }),
    ...problems(...decisions),
  },
};

export const removeProjection: Operation = {
  operationId: "removeProjection",
  summary: "Remove a projection",
  description: "Its tables, views and snapshots go, once no process has its module any more.",
  tags: ["Projections"],
  parameters: use("ProjectionName"),
  responses: {
    "204": { description: "It is gone." },
    ...problems(...refusals, "projection-not-found", "forbidden", "outcome-unknown", "projection-attended"),
  },
};
