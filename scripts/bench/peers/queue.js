// What the programs of the peers' queues share: their options, their messages, and how one run is measured.
import pg from "pg";

/** The options that the bench gives to a program. */
export const options = JSON.parse(process.argv[2] ?? "{}");

const { host, port, username, database, connections } = options;

/** As many connections as the bench found to be best. */
export const pool = new pg.Pool({ host, port, user: username, database, max: connections });
pool.on("error", fail);
pool.on("connect", (client) => client.on("error", fail));
process.on("uncaughtException", fail);
process.on("unhandledRejection", fail);

/** Its number tells each message from the others. */
export const message = (n) => ({ orderId: `o-${n}`, amount: 12.5 });
export const numberOf = (data) => Number(data.orderId.slice(2));

/** Before a run, so that plans do not change while it is measured: what autovacuum and checkpoints do within minutes. */
export async function settle() {
  await pool.query("vacuum (analyze)");
  await pool.query("checkpoint");
}

/** Counts what was handed out; throws at the end unless each of the messages came, or so many, and none twice. */
export function createTally(messages) {
  const seen = new Uint8Array(messages);
  let handedOut = 0;
  return {
    count: () => handedOut,
    add(data) {
      const n = numberOf(data);
      if (!(n < messages)) throw new Error(`a message that nobody sent: ${JSON.stringify(data)}`);
      if (seen[n]++ > 0) throw new Error(`message ${n} came twice`);
      handedOut++;
    },
    requireAll() {
      if (handedOut !== messages) throw new Error(`${handedOut} of ${messages} messages came`);
    },
  };
}

/** Says what went wrong instead of a result, and ends the program. */
export function fail(error) {
  process.stdout.write(`${JSON.stringify({ failed: error.message })}\n`, () => process.exit(0));
}

/** Prints the result of a program, and ends it. */
export async function finish(result) {
  await pool.end();
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
}
