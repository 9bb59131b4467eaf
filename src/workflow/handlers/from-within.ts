// What handlers ask of commands and sagas: asked for as it would be over HTTP, and told apart from what clients ask for.
import { contentHash } from "../../base/ids.ts";

/** Who asks from within: no client has such a name. */
export const handlers = "$handlers";

/**
 * A value as it would come over HTTP: what the caller does with its object afterwards, or the other side with this one, is nothing
 * to the other. `requestHash`: equal for what is asked for again in the same workflow.
 */
export function asRequest(value: unknown, correlationId: string): { body: unknown; requestHash: string } {
  const text = JSON.stringify(value) ?? "null";
  return { body: JSON.parse(text), requestHash: contentHash([correlationId, text]) };
}
