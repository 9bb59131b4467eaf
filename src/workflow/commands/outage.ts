// What a command is told when the database fails beside the appending: what it asks of it itself, and not what its handler does.
import { outcomeUnknown, storageUnavailable } from "../../base/errors.ts";
import { classify, isOutage } from "../../storage/pg-errors.ts";

/** What the statement comes to. Throws `storage-unavailable`, and of one that writes `outcome-unknown`, where the database is away. */
export async function orOutage<T>(statement: Promise<T>, writes: boolean): Promise<T> {
  try {
    return await statement;
  } catch (error) {
    if (writes && classify(error).kind === "unknown") throw outcomeUnknown(error);
    if (isOutage(error)) throw storageUnavailable("The database is not available; the command stored nothing", error);
    throw error;
  }
}
