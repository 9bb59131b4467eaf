// Defines an event type in code: the schemas of its versions, and how data of each become data of the next.
import type { Static, TSchema } from "@sinclair/typebox";
import type { DraftEvent, EventAttributes } from "./draft-event.ts";

export type VersionOptions<From extends TSchema, To extends TSchema> = {
  /** For people. */
  description?: string;
  /**
   * Makes data of this version of data of the version before. It gives the same answer each time, and leaves what it is given
   * as it is. Without it the data stay as they are, which the registry refuses where they would not be valid.
   */
  upcast?: (data: Static<From>) => Static<To>;
};

/** A version, as the registry takes it. */
export type VersionDefinition = {
  schema: TSchema;
  description: string | null;
  upcast: ((data: unknown) => unknown) | null;
};

/** An event type; `Latest` is the schema of its newest version. */
export type EventType<Name extends string = string, Latest extends TSchema = TSchema> = {
  readonly name: Name;
  /** The first is version 1. */
  readonly versions: readonly VersionDefinition[];
  readonly latest: Latest;
  /** The type with a further version. */
  version<Next extends TSchema>(schema: Next, options?: VersionOptions<Latest, Next>): EventType<Name, Next>;
  /** An event of the newest version, to be emitted. */
  event(data: Static<Latest>, attributes?: EventAttributes): DraftEvent<Name, Static<Latest>>;
};

/** The data of the newest version of an event type. */
export type EventData<Type extends EventType> = Static<Type["latest"]>;

/** An event type with its first version; further ones are added by `version`. */
export function defineEvent<const Name extends string, First extends TSchema>(
  name: Name,
  schema: First,
  { description }: { description?: string } = {},
): EventType<Name, First> {
  return extend(name, [{ schema, description: description ?? null, upcast: null }], schema);
}

function extend<Name extends string, Latest extends TSchema>(
  name: Name,
  versions: readonly VersionDefinition[],
  latest: Latest,
): EventType<Name, Latest> {
  return {
    name,
    versions,
    latest,
    version(schema, { description, upcast } = {}) {
      const next: VersionDefinition = { schema, description: description ?? null, upcast: upcast ?? null };
      return extend(name, [...versions, next], schema);
    },
    event: (data, attributes = {}) => ({ type: name, version: versions.length, schema: latest, data, attributes }),
  };
}
