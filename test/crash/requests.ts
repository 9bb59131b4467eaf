// Requests of consumers, each on a connection of its own, at any of the services.
import { createHttpConnection, type HttpAnswer, type HttpRequest } from "./http-connection.ts";
import type { Random } from "./random.ts";

export type Requests = (
  method: HttpRequest["method"],
  path: string,
  body: object | null,
  /** Leaves before the answer when it fires. */
  leave?: AbortSignal,
) => Promise<HttpAnswer>;

export type RequestsOptions = {
  random: Random;
  ports: readonly number[];
  silenceMs: number;
};

/** Rejects when the connection broke before the answer was whole. */
export function createRequests({ random, ports, silenceMs }: RequestsOptions): Requests {
  return async (method, path, body, leave) => {
    const connection = createHttpConnection(random.pick(ports));
    const close = () => connection.close();
    leave?.addEventListener("abort", close, { once: true });
    const content =
      body === null ? {} : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
    try {
      return await connection.send({ method, path, silenceMs, ...content });
    } finally {
      leave?.removeEventListener("abort", close);
      connection.close();
    }
  };
}

/** The code of a problem. */
export function problemOf(body: string): string {
  return (JSON.parse(body) as { type?: string }).type?.replace("/problems/", "") ?? body.slice(0, 200);
}
