// Events as the versions that the code of this process is written for.
import { type Target, targetOf } from "../../stream/schema/target.ts";
import type { EventType } from "./event-type.ts";

/** Each of the types as the newest version that the code knows: another process may have registered a newer one. */
export function knownVersions(types: readonly EventType[]): Target {
  return targetOf("stored", new Map(types.map(({ name, versions }) => [name, versions.length])));
}
