// Makes the many streams that some measurements append to.
import { connectTo, type Service, serviceSchema } from "./service.ts";
import { manyStreams } from "./settings.ts";
import { append } from "./wrk.ts";

/**
 * Appends to each of the many streams, then has Postgres look at them as its autovacuum does within a minute: else plans
 * would change at some moment while something is measured.
 */
export async function makeManyStreams(service: Service, schema = serviceSchema): Promise<void> {
  await append(service.url, { connections: 64, seconds: 1, streams: manyStreams });
  const sql = await connectTo(service.dataDir, { schema });
  await sql`analyze streams`;
  await sql.end();
}
