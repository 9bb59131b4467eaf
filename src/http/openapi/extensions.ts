// The operations that modules bring along: each of their commands, sagas and read models, with schemas of its own.
import type { CommandListing } from "../../workflow/commands/command-runner.ts";
import type { ProjectionDefinition } from "../../workflow/projections/definition.ts";
import type { SagaDefinition } from "../../workflow/sagas/saga.ts";
import { commandOperation } from "./commands.ts";
import type { Operation, Parameter, Schema } from "./operation.ts";
import { readProjection } from "./projections.ts";
import { startSaga } from "./sagas.ts";

type SagaListing = Pick<SagaDefinition, "name" | "description" | "input">;
type ProjectionListing = Pick<ProjectionDefinition, "name" | "description" | "reading">;

/** What modules define that is asked for over HTTP. */
export type Extensions = {
  commands: readonly CommandListing[];
  sagas: readonly SagaListing[];
  projections: readonly ProjectionListing[];
};

export const noExtensions: Extensions = { commands: [], sagas: [], projections: [] };

/** Their operations, by path and method. */
export function extensionPaths({
  commands,
  sagas,
  projections,
}: Extensions): Record<string, Record<string, Operation>> {
  const paths: Record<string, Record<string, Operation>> = {};
  for (const command of inOrder(commands)) paths[`/api/commands/${command.name}`] = { post: commandOperation(command) };
  for (const saga of inOrder(sagas)) paths[`/api/sagas/${saga.name}/start`] = { post: sagaOperation(saga) };
  // What a module does not answer itself is read like any other.
  for (const projection of inOrder(projections))
    if (projection.reading !== null) paths[`/api/projections/${projection.name}`] = { get: readOperation(projection) };
  return paths;
}

const inOrder = <Listing extends { name: string }>(all: readonly Listing[]) =>
  [...all].sort((a, b) => (a.name < b.name ? -1 : 1));

const camelCase = (text: string) => text.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());

const without = ({ parameters = [] }: Operation, ...names: string[]) =>
  parameters.filter(
    (parameter) => !("$ref" in parameter) || !names.some((name) => parameter.$ref.endsWith(`/${name}`)),
  );

function sagaOperation({ name, description, input }: SagaListing): Operation {
  return {
    ...startSaga,
    operationId: camelCase(`start-${name}-saga`),
    summary: description ?? name,
    parameters: without(startSaga, "SagaName"),
    requestBody: {
      required: true,
      description: "Read as JSON, whatever the content type says.",
      content: { "application/json": { schema: input as Schema } },
    },
  };
}

function readOperation({ name, description, reading }: ProjectionListing): Operation {
  const query = reading?.query ?? null;
  const required: readonly string[] = query?.required ?? [];
  const parameters = Object.entries(query?.properties ?? {}).map(([parameter, schema]): Parameter => {
    const isGiven = required.includes(parameter) && schema.default === undefined;
    return {
      name: parameter,
      in: "query",
      ...(isGiven && { required: true }),
      description: schema.description ?? `The ${parameter}, as its module says`,
      schema: schema as Schema,
    };
  });
  const [, ...others] = Object.entries(readProjection.responses);
  return {
    operationId: camelCase(`read-${name}-projection`),
    summary: description ?? name,
    description: "What the projection's module makes of the query, as of one position, which stands in the header.",
    tags: readProjection.tags,
    parameters,
    responses: {
      "200": {
        description: "The module's answer.",
        headers: readProjection.responses["200"]?.headers ?? {},
        content: { "application/json": { schema: {} } },
      },
      ...Object.fromEntries(others),
    },
  };
}
