// Appends with Emmett's event store on Postgres, in this process, each event to one of many streams.
import { getPostgreSQLEventStore } from "@event-driven-io/emmett-postgresql";
import pg from "pg";
import { event, measure, options } from "./load.js";

const { host, port, username, database, connections } = options;
const url = `postgresql://${username}@${encodeURIComponent(host)}:${port}/${database}`;
const pool = new pg.Pool({ host, port, user: username, database, max: connections });
const store = getPostgreSQLEventStore(url, { connectionOptions: { pool } });
await store.schema.migrate();
if (!options.prepareOnly) await measure((stream) => store.appendToStream(`order-${stream}`, [event]));
await pool.end();
process.exit(0);
