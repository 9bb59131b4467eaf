// /asyncapi.json as it is at the moment: of the schemas that are registered, of the streams that are published, and of those that are mirrored.
import type { Pool } from "../../storage/pool.ts";
import { readPublishedStreams } from "../../stream/cross-service/published-streams.ts";
import { readRemoteSources } from "../../stream/remote/remote-streams.ts";
import { readComponents } from "../../stream/schema/components.ts";
import type { Registry } from "../../stream/schema/registry.ts";
import type { DocumentSource } from "../docs.ts";
import { asyncApiDocument } from "./document.ts";
import type { NatsSubject } from "./nats-channels.ts";
import { schemaPointer } from "./schemas.ts";

export type AsyncApiDependencies = {
  reads: Pool;
  registry: Pick<Registry, "revision">;
  /** Where the service is reached, without a slash at its end. */
  publicUrl: () => string;
  /** Null where there is no NATS. */
  nats: Omit<NatsSubject, "streams" | "remotes" | "hasMore"> | null;
};

/** Streams of either kind that have channels of their own in the document. */
const maxStreams = 200;

/** The document is made anew when the registry, a published or mirrored stream, or the service's address has changed. */
export function asyncApiSource({ reads, registry, publicUrl, nats }: AsyncApiDependencies): DocumentSource {
  return async () => {
    const revision = registry.revision();
    const url = publicUrl();
    const found = nats === null ? [] : await readPublishedStreams(reads, maxStreams + 1);
    const mirrored = nats === null ? [] : await readRemoteSources(reads, maxStreams + 1);
    const streams = found.slice(0, maxStreams);
    const remotes = mirrored.slice(0, maxStreams);
    const hasMore = found.length > streams.length || mirrored.length > remotes.length;
    return {
      revision: JSON.stringify([revision, url, streams, remotes, hasMore]),
      async text() {
        const registered = await readComponents(reads, schemaPointer);
        const published = nats === null ? null : { ...nats, streams, remotes, hasMore };
        return asyncApiDocument({ publicUrl: url, registered, nats: published });
      },
    };
  };
}
