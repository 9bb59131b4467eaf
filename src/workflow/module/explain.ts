// Says what is wrong with a module in plain sentences, for whoever starts the service.
import { Problem, type SchemaChange } from "../../base/errors.ts";
import { mayPass } from "../../storage/withstand.ts";

/** Runs the task; what refuses it is an error that names its subject. What may pass, such as a database that is away, stays as it is. */
export async function inPlainWords<T>(subject: string, task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (error) {
    if (mayPass(error) || (error instanceof Problem && error.status >= 500)) throw error;
    const why = error instanceof Problem ? withChanges(error) : error instanceof Error ? error.message : error;
    throw new Error(`${subject}: ${why}`);
  }
}

/** A problem with what a schema was and is, a line each. */
function withChanges({ message, fields }: Problem): string {
  const changes = (fields.changes ?? []) as readonly SchemaChange[];
  const lines = changes.map(
    ({ path, was, is }) => `\n  ${path || "/"} was ${JSON.stringify(was)}, is ${JSON.stringify(is)}`,
  );
  return message + lines.join("");
}
