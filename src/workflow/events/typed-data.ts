import { inWords } from "../../base/violations.ts";
import type { StoredEvent } from "../../stream/event.ts";
import { checkerOf } from "../handlers/checker.ts";
import { Defect } from "../handlers/defect.ts";
import type { EventType } from "./event-type.ts";
import { dataOf } from "./recorded-event.ts";

/** The data of an event that is as the newest version of the type. Throws `Defect` where it has none that the type's schema allows. */
export function typedData(event: StoredEvent, type: EventType): unknown {
  if (event.data === null) throw new Defect("it has no JSON data");
  const data = dataOf(event);
  const violations = checkerOf(type.latest)(data);
  if (violations !== null) throw new Defect(`its data do not match ${type.name}: ${inWords(violations)}`, violations);
  return data;
}
