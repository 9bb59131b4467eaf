// What is said of a difference, once for readers that came after the writer and once for readers that were there before.

import { pointerToken } from "../../../base/json-pointer.ts";
import { canonical } from "../json-schema/identity.ts";
import { typesIn } from "./values.ts";

/** `path` leads from the compared value to the place of the difference; the rest is what to say in either direction. */
export type Finding = { path: string; backward: string; forward: string };

/** What the writer says and what the reader says, as a change from the earlier one to the later one. */
function change<T>(writer: T, reader: T, say: (before: T, after: T) => string): Finding {
  return { path: "", backward: say(writer, reader), forward: say(reader, writer) };
}

export function inside(name: string | number, findings: readonly Finding[]): Finding[] {
  const step = pointerToken(name);
  return findings.map((finding) => ({ ...finding, path: step + finding.path }));
}

/** The name that stands for all items, or all properties that are not spoken of. */
export const every = "*";

export function refused(): Finding {
  return { path: "", backward: "is not allowed any more", forward: "is allowed now, and was not" };
}

export function missing(): Finding {
  return { path: "", backward: "is required now, and was not", forward: "was required, and is not any more" };
}

export function otherKinds(writer: number, reader: number): Finding {
  return change(writer, reader, (before, after) => `was ${typeText(before)}, is ${typeText(after)} now`);
}

function typeText(kinds: number): string {
  const types = typesIn(kinds);
  if (types.length === 0) return "nothing";
  return types.length === 6 ? "anything" : types.join(" or ");
}

export function refusedValues(values: readonly unknown[]): Finding {
  const [noun, list] = [values.length === 1 ? "value" : "values", valueText(values.map(canonical))];
  return {
    path: "",
    backward: `allows the ${noun} ${list} no more`,
    forward: `allows the ${noun} ${list} now, and did not`,
  };
}

/** The reader lists its values, by their canonical text, and the writer's are not listed. */
export function onlyValues(values: readonly string[]): Finding {
  const list = valueText(values);
  return { path: "", backward: `allows only ${list} now`, forward: `allowed only ${list}, and allows more now` };
}

function valueText(texts: readonly string[]): string {
  const shown = texts.slice(0, 5).map(shortened);
  const more = texts.length - shown.length;
  return more > 0 ? `${shown.join(", ")} and ${more} more` : shown.join(", ");
}

function shortened(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** A keyword that has another value, or none (undefined), in one of the schemas. */
export function otherKeyword(
  keyword: string,
  writer: string | number | undefined,
  reader: string | number | undefined,
): Finding {
  return change(writer, reader, (before, after) => {
    if (before === undefined) return `has ${keyword} ${shortened(String(after))} now, and had none`;
    if (after === undefined) return `had ${keyword} ${shortened(String(before))}, and has none any more`;
    return `had ${keyword} ${shortened(String(before))}, has ${shortened(String(after))} now`;
  });
}

/** A bound of numbers, told in words such as "at least 5"; null without a bound. */
export function otherBound(writer: string | null, reader: string): Finding {
  return change<string | null>(writer, reader, (before, after) => {
    if (before === null) return `is ${after} now, and had no such bound`;
    return after === null ? `was ${before}, and has no such bound any more` : `was ${before}, is ${after} now`;
  });
}

export function notUnique(): Finding {
  return { path: "", backward: "must not repeat items now", forward: "may repeat items now, and must not before" };
}

export function uncovered(): Finding {
  return {
    path: "",
    backward: "has data that fit none of the alternatives any more",
    forward: "has data now that fit none of the alternatives before",
  };
}

export function unproven(keyword: string): Finding {
  return always(`${keyword} changed, and cannot be shown to be compatible`);
}

export function endless(): Finding {
  return always("refers to itself without end");
}

export function dangling(): Finding {
  return always("refers to a schema that cannot be found");
}

export function tooLarge(): Finding {
  return always("is too large to be compared");
}

function always(text: string): Finding {
  return { path: "", backward: text, forward: text };
}
