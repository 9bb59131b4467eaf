// Fills the log before a run begins, so that it passes a checkpoint (every 100,000 positions) while the run goes on.
import { setTimeout as sleep } from "node:timers/promises";
import { createHttpConnection } from "./http-connection.ts";

const batch = 1_000;
const connections = 4;
const silenceMs = 30_000;
const body = JSON.stringify(Array.from({ length: batch }, () => ({ type: "Before" })));

/** Appends at least so many events to a stream that nobody reads. */
export async function prefill(port: number, events: number): Promise<void> {
  let left = Math.ceil(events / batch);
  const fill = async () => {
    const connection = createHttpConnection(port);
    const headers = { "content-type": "application/json" };
    while (left-- > 0) {
      const { status } = await connection.send({
        method: "POST",
        path: "/api/streams/before/events",
        headers,
        body,
        silenceMs,
      });
      if (status === 201) continue;
      // The partitions may be behind for a moment.
      left++;
      await sleep(100);
    }
    connection.close();
  };
  await Promise.all(Array.from({ length: connections }, fill));
}
