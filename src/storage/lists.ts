// Writes lists of values as one text parameter each: arrays of numbers as literals, texts joined by control characters.

/** U+001E between texts; neither attributes nor JSON can contain it, and `string_to_array` splits faster than a literal parses. */
export const separator = "\x1e";
/** Stands for an absent text. */
const absent = "\x1f";

/** A Postgres array literal of numbers, nulls, booleans or UUIDs. */
export function arrayLiteral(values: readonly (number | string | null)[]): string {
  let text = "{";
  for (let i = 0; i < values.length; i++) {
    if (i > 0) text += ",";
    text += values[i] ?? "NULL";
  }
  return `${text}}`;
}

/** A Postgres array literal of names, which hold neither quotes nor backslashes; quoted, or the name `null` would be none. */
export function nameList(names: readonly (string | null)[]): string {
  return `{${names.map((name) => (name === null ? "NULL" : `"${name}"`)).join(",")}}`;
}

/** Texts that hold neither control character, joined for `string_to_array(…, E'\x1e', E'\x1f')`. */
export function textList(values: readonly (string | null)[]): string {
  let text = "";
  for (let i = 0; i < values.length; i++) {
    if (i > 0) text += separator;
    text += values[i] ?? absent;
  }
  return text;
}

/** Reads a Postgres array of numbers as it stands on the wire. */
export function readNumbers(literal: string): (number | null)[] {
  return literal === "{}"
    ? []
    : literal
        .slice(1, -1)
        .split(",")
        .map((v) => (v === "NULL" ? null : Number(v)));
}

/** Reads a Postgres array of booleans as it stands on the wire. */
export function readBooleans(literal: string): boolean[] {
  return literal === "{}"
    ? []
    : literal
        .slice(1, -1)
        .split(",")
        .map((v) => v === "t");
}
