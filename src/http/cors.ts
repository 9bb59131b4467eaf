// Cross-origin requests of browsers (Fetch standard, section 3.3): the pages of listed origins may use the service.

export type Cors = {
  /** The answer to a preflight of a listed origin; null for every other request. */
  preflight: (request: Request) => Response | null;
  /** Lets the page that sent the request read the answer, if its origin is listed. */
  expose: (request: Request, headers: Headers) => void;
};

const methods = "GET, HEAD, POST, PUT, DELETE";
const exposed =
  "ETag, Link, Location, Retry-After, X-Request-Id, Allow, Snapshot-Offset, Snapshot-Recorded-Time, Snapshot-By, Projection-Position";
const maxAgeSeconds = 600;

/** `origins` are compared as browsers write them: scheme, host and port, without a path. */
export function createCors(origins: readonly string[]): Cors {
  const listed = new Set(origins);
  return {
    preflight(request) {
      if (request.method !== "OPTIONS" || !request.headers.has("access-control-request-method")) return null;
      const origin = request.headers.get("origin");
      if (origin === null || !listed.has(origin)) return null;
      return new Response(null, {
        status: 204,
        headers: {
          "access-control-allow-origin": origin,
          "access-control-allow-methods": methods,
          // Attributes of events travel in headers of any name (ce-*), so what is asked for is what is allowed.
          "access-control-allow-headers": request.headers.get("access-control-request-headers") ?? "",
          "access-control-max-age": String(maxAgeSeconds),
          vary: "Origin, Access-Control-Request-Headers",
        },
      });
    },
    expose(request, headers) {
      if (listed.size === 0) return;
      // A cache must not give one origin's answer to another.
      headers.append("vary", "Origin");
      const origin = request.headers.get("origin");
      if (origin === null || !listed.has(origin)) return;
      headers.set("access-control-allow-origin", origin);
      headers.set("access-control-expose-headers", exposed);
    },
  };
}
