// Pieces of schemas: words to choose from, and what to say when a value does not fit. Symbols do not appear in documents.
import { type TSchema, type TUnsafe, Type } from "@sinclair/typebox";

const message = Symbol("message");

/** Options of a schema whose violations are told in these words. */
export function saying(text: string): Record<symbol, string> {
  return { [message]: text };
}

/** What to say of a violation of a schema; null where the schema has no words for it. */
export function messageOf(schema: TSchema): string | null {
  const text: unknown = Reflect.get(schema, message);
  return typeof text === "string" ? text : null;
}

/** One of a few words. */
export function oneOf<const Word extends string>(
  words: readonly Word[],
  options: { description: string; default?: Word },
): TUnsafe<Word> {
  const literals = words.map((word) => Type.Literal(word));
  return Type.Union(literals, {
    ...options,
    ...saying(`must be one of ${words.join(", ")}`),
  }) as unknown as TUnsafe<Word>;
}
