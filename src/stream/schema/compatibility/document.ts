// A schema as a document: what the references in it refer to.
import { assertions, isSchema, type JsonSchema, type SchemaObject, textAt } from "../json-schema/keywords.ts";
import { subschemas } from "../json-schema/subschemas.ts";

export type SchemaDocument = {
  /** What the schema's own `$ref` and `$dynamicRef` refer to; null for one that leads nowhere in this document. */
  targets(schema: SchemaObject): (JsonSchema | null)[];
  /** What a reference refers to; null for one that leads nowhere in this document. */
  resolve(reference: string): JsonSchema | null;
  /** The schema behind references that stand alone; the last of them when it leads nowhere, or round in a circle. */
  behind(schema: JsonSchema): JsonSchema;
};

type Index = { anchors: Map<string, JsonSchema>; ids: Map<string, JsonSchema>; embedded: boolean };

export function createDocument(root: JsonSchema): SchemaDocument {
  let index: Index | null = null;

  function resolve(reference: string): JsonSchema | null {
    index ??= indexed(root);
    if (!reference.startsWith("#")) return index.ids.get(reference) ?? null;
    // With embedded resources such a reference depends on where it stands (RFC 3986, JSON Schema core 9.2).
    if (index.embedded) return null;
    const fragment = decoded(reference.slice(1));
    if (fragment === null) return null;
    return fragment === "" || fragment.startsWith("/")
      ? pointed(root, fragment)
      : (index.anchors.get(fragment) ?? null);
  }

  function targets(schema: SchemaObject): (JsonSchema | null)[] {
    const references = [textAt(schema, "$ref"), textAt(schema, "$dynamicRef")];
    return references.filter((reference) => reference !== undefined).map(resolve);
  }

  function behind(schema: JsonSchema): JsonSchema {
    const met = new Set<JsonSchema>();
    let at = schema;
    while (isLoneReference(at) && !met.has(at)) {
      met.add(at);
      at = targets(at)[0] ?? at;
    }
    return at;
  }

  return { resolve, targets, behind };
}

function isLoneReference(schema: JsonSchema): schema is SchemaObject {
  if (typeof schema === "boolean" || typeof schema.$ref !== "string") return false;
  return Object.keys(schema).every((keyword) => keyword === "$ref" || !assertions.has(keyword));
}

/** The anchors of the document, and its `$id`s as far as they can be compared as they are written. */
function indexed(root: JsonSchema): Index {
  const anchors = new Map<string, JsonSchema>();
  const ids = new Map<string, JsonSchema>();
  let embedded = false;
  let plain = true;
  for (const { pointer, schema } of subschemas(root)) {
    if (typeof schema === "boolean") continue;
    const id = textAt(schema, "$id");
    if (id !== undefined) {
      const isPlain = /^[\w.-]+$/.test(id);
      if (pointer !== "") {
        embedded = true;
        plain &&= isPlain;
      }
      if (isPlain || URL.canParse(id)) ids.set(id, schema);
    }
    // Without embedded resources a dynamic reference can lead to one place only, like any other.
    for (const anchor of [textAt(schema, "$anchor"), textAt(schema, "$dynamicAnchor")]) {
      if (anchor !== undefined) anchors.set(anchor, schema);
    }
  }
  // Plain names are relative to the same base as long as no embedded resource changes the folder.
  return { anchors, ids: plain ? ids : new Map(), embedded };
}

function decoded(fragment: string): string | null {
  try {
    return decodeURIComponent(fragment);
  } catch {
    return null;
  }
}

/** What stands at a JSON Pointer (RFC 6901), when it can be a schema. */
function pointed(root: JsonSchema, pointer: string): JsonSchema | null {
  let value: unknown = root;
  for (const token of pointer.split("/").slice(1)) {
    const name = token.replaceAll("~1", "/").replaceAll("~0", "~");
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return null;
    value = Reflect.get(value, name);
  }
  return isSchema(value) ? value : null;
}
