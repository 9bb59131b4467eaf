// Sends deletions of streams and records what became of them.
import { setTimeout as sleep } from "node:timers/promises";
import type { DeletionAnswered, History } from "./history.ts";
import { createHttpConnection, type HttpConnection } from "./http-connection.ts";
import type { Random } from "./random.ts";

export type DeletionClient = {
  /** One attempt, at the service with this index. */
  attempt: (stream: string, service: number) => Promise<DeletionAnswered>;
  close: () => void;
};

export type DeletionClientOptions = {
  history: History;
  random: Random;
  /** Ports of the services, as writers reach them. */
  ports: readonly number[];
  nextOp: () => number;
};

// Above the service's own limit for an answer of the database.
const silenceMs = 8_000;

export function createDeletionClient({ history, random, ports, nextOp }: DeletionClientOptions): DeletionClient {
  const connections = ports.map((port) => createHttpConnection(port));

  async function send(
    connection: HttpConnection,
    stream: string,
  ): Promise<Omit<DeletionAnswered, "kind" | "op" | "at">> {
    try {
      const { status, body } = await connection.send({ method: "DELETE", path: `/api/streams/${stream}`, silenceMs });
      if (status < 300) return { outcome: "acknowledged", status, reason: null };
      const reason = (JSON.parse(body) as { type?: string }).type?.replace("/problems/", "") ?? "";
      return { outcome: status < 500 ? "refused" : "unknown", status, reason };
    } catch (error) {
      return { outcome: "unknown", status: null, reason: (error as Error).message };
    }
  }

  return {
    async attempt(stream, service) {
      const op = nextOp();
      history.add({ kind: "deleting", op, at: history.now(), stream });
      const outcome = await send(connections[service] as HttpConnection, stream);
      const answered: DeletionAnswered = { kind: "deleted", op, at: history.now(), ...outcome };
      history.add(answered);
      // A service that is away is not asked as fast as one can.
      if (answered.status === null) await sleep(random.between(50, 200));
      return answered;
    },
    close() {
      for (const connection of connections) connection.close();
    },
  };
}
