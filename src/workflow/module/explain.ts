// Says what is wrong with a module in one plain sentence, for whoever starts the service.
import { Problem } from "../../base/errors.ts";

/** Runs the task; what refuses it is an error that names its subject. What may pass, such as a database that is away, stays as it is. */
export async function inPlainWords<T>(subject: string, task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (error) {
    if (error instanceof Problem && error.status >= 500) throw error;
    throw new Error(`${subject}: ${error instanceof Error ? error.message : error}`);
  }
}
