// Binds the application to a port: the one file that knows the runtime.
import type { Elysia } from "elysia";

export type Listening = {
  url: string;
  /** Closes the port; requests under way are finished, unless they are to be `abandoned`. */
  stop: (abandoned: boolean) => Promise<void>;
};

export type ListenOptions = {
  host: string;
  port: number;
  /** Seconds without a byte after which a connection is closed; above the heartbeat of event streams. */
  idleTimeoutSeconds: number;
};

/** Throws when the address is taken or not of this machine. */
export function listen(app: { fetch: Elysia["fetch"] } & Pick<Elysia, "listen">, options: ListenOptions): Listening {
  const started = app.listen({
    hostname: options.host,
    port: options.port,
    idleTimeout: options.idleTimeoutSeconds,
    // The runtime's own refusal is no problem+json. Bodies are bounded where they are read; unread ones are not kept.
    maxRequestBodySize: Number.MAX_SAFE_INTEGER,
  });
  const server = started.server;
  if (server === null) throw new Error("the server did not start");
  const host = options.host.includes(":") ? `[${options.host}]` : options.host;
  return {
    url: `http://${host}:${server.port}`,
    async stop(abandoned) {
      await server.stop(abandoned);
    },
  };
}
