// Binds the application to a port: the one file that knows the runtimes, Bun and Deno.
import type { Elysia } from "elysia";

export type Listening = {
  url: string;
  port: number;
  /** Closes the port; requests under way are finished, unless they are to be `abandoned`. */
  stop: (abandoned: boolean) => Promise<void>;
};

export type ListenOptions = {
  host: string;
  port: number;
  /** Seconds without a byte after which a connection is closed; above the heartbeat of event streams. Deno has none. */
  idleTimeoutSeconds: number;
  /** Several processes listen on the port, and the system spreads connections over them. */
  shared: boolean;
};

type Application = { fetch: Elysia["fetch"] } & Pick<Elysia, "listen">;
type Bound = { port: number; stop: Listening["stop"] };

/** What is used of Deno (docs.deno.com/api/deno/http-server). */
type DenoRuntime = {
  serve: (
    options: { hostname: string; port: number; reusePort: boolean; onListen: () => void },
    handler: (request: Request) => Response | Promise<Response>,
  ) => { addr: { port: number }; shutdown: () => Promise<void> };
};

/** Throws when the address is taken or not of this machine. */
export function listen(app: Application, options: ListenOptions): Listening {
  const { Deno } = globalThis as { Deno?: DenoRuntime };
  const { port, stop } = Deno === undefined ? listenOnBun(app, options) : listenOnDeno(Deno, app, options);
  const host = options.host.includes(":") ? `[${options.host}]` : options.host;
  return { url: `http://${host}:${port}`, port, stop };
}

function listenOnBun(app: Application, options: ListenOptions): Bound {
  const { server } = app.listen({
    hostname: options.host,
    port: options.port,
    idleTimeout: options.idleTimeoutSeconds,
    reusePort: options.shared,
    // The runtime's own refusal is no problem+json. Bodies are bounded where they are read; unread ones are not kept.
    maxRequestBodySize: Number.MAX_SAFE_INTEGER,
  });
  if (server === null) throw new Error("the server did not start");
  return { port: server.port as number, stop: async (abandoned) => server.stop(abandoned) };
}

function listenOnDeno(deno: DenoRuntime, app: Application, options: ListenOptions): Bound {
  const server = deno.serve(
    { hostname: options.host, port: options.port, reusePort: options.shared, onListen() {} },
    app.fetch,
  );
  // Its signal may not fire once a shutdown has begun: requests that are abandoned end with the process.
  let abandon = () => {};
  const abandoned = new Promise<void>((resolve) => {
    abandon = resolve;
  });
  return {
    port: server.addr.port,
    async stop(now) {
      if (now) abandon();
      await Promise.race([server.shutdown(), abandoned]);
    },
  };
}
