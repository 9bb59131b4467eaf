// The data of a saga as they are kept.
import { inWords } from "../../base/violations.ts";
import { checkerOf } from "../handlers/checker.ts";
import { Defect } from "../handlers/defect.ts";
import type { SagaDefinition } from "./saga.ts";

const maxDataBytes = 1_048_576;

/** Data as JSON. Throws `Defect` where they are not what they must be. */
export function keptData({ data: schema }: SagaDefinition, data: unknown): string {
  const text = JSON.stringify(data) as string | undefined;
  if (text !== undefined && Buffer.byteLength(text) > maxDataBytes)
    throw new Defect(`the data would have more than ${maxDataBytes} bytes`, [
      { path: "", message: `makes data of more than ${maxDataBytes} bytes` },
    ]);
  const violations = checkerOf(schema)(text === undefined ? undefined : JSON.parse(text));
  if (violations !== null)
    throw new Defect(`the data would not match their schema: ${inWords(violations)}`, violations);
  return text as string;
}
