// /asyncapi.json as it is at the moment: of the schemas that are registered, and of the streams that are published.
import type { Pool } from "../../storage/pool.ts";
import { readComponents } from "../../stream/schema/components.ts";
import type { Registry } from "../../stream/schema/registry.ts";
import type { DocumentSource } from "../docs.ts";
import { asyncApiDocument } from "./document.ts";
import { schemaPointer } from "./schemas.ts";

export type AsyncApiDependencies = {
  reads: Pool;
  registry: Pick<Registry, "revision">;
  /** Where the service is reached, without a slash at its end. */
  publicUrl: () => string;
  nats: null;
};

export function asyncApiSource({ reads, registry, publicUrl, nats }: AsyncApiDependencies): DocumentSource {
  return async () => ({
    revision: JSON.stringify([registry.revision(), publicUrl()]),
    text: async () =>
      asyncApiDocument({ publicUrl: publicUrl(), registered: await readComponents(reads, schemaPointer), nats }),
  });
}
