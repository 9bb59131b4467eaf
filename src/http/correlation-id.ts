// The correlation id that a request names for what it begins or continues: a workflow, or a saga.
import { invalidParameter } from "../base/errors.ts";
import { readQuery, readText } from "./parameters.ts";

const maxIdLength = 256;

/** The id in a query parameter or a header; null where neither names one. Throws `invalid-parameter`. */
export function readCorrelationId(request: Request, parameter: string, header: string): string | null {
  const inQuery = request.url.includes("?") ? readText(readQuery(request, [parameter]), parameter) : null;
  const inHeader = request.headers.get(header);
  if (inQuery !== null && inHeader !== null && inQuery !== inHeader)
    throw invalidParameter(header, `${header} and ${parameter} name different ones`);
  const id = inQuery ?? inHeader;
  if (id !== null && !isCorrelationId(id))
    throw invalidParameter(
      inQuery === null ? header : parameter,
      `it is a text of 1 to ${maxIdLength} characters without control characters`,
    );
  return id;
}

/** What can be the `correlationid` of an event. */
export function isCorrelationId(id: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  return id !== "" && id.length <= maxIdLength && !/[\u0000-\u001f\u007f-\u009f]/.test(id) && id.isWellFormed();
}
