// What handlers return.
import type { TSchema } from "@sinclair/typebox";
import { inWords } from "../../base/violations.ts";
import { checkerOf } from "../handlers/checker.ts";
import { Defect } from "../handlers/defect.ts";
import { notJson } from "../handlers/json-value.ts";

/** The result as it is answered; null for a command that has none. Throws `Defect` where its schema refuses it. */
export function resultOf(schema: TSchema | null, returned: unknown): unknown {
  if (schema === null) return null;
  const odd = notJson(returned);
  if (odd !== null) throw new Defect(`it returned what is no JSON: ${inWords([odd])}`, [odd]);
  const violations = checkerOf(schema)(returned);
  if (violations !== null)
    throw new Defect(`it returned what the schema of its result refuses: ${inWords(violations)}`, violations);
  return returned;
}
