// /livez, /readyz and /metrics: what probes and scrapers ask.
import { type Handler, json } from "./context.ts";

export type Check = { ok: boolean; detail?: string };

export type OperationsDependencies = {
  /** The parts that must work for the service to serve, by name. */
  checks: () => Promise<Record<string, Check>>;
  /** The metrics in the text format of Prometheus, and its content type. */
  metrics: () => Promise<{ contentType: string; text: string }>;
};

export type OperationsHandlers = { live: Handler; ready: Handler; metrics: Handler };

export function operationsHandlers({ checks, metrics }: OperationsDependencies): OperationsHandlers {
  return {
    live: () => json({ status: "live" }),
    async ready() {
      const found = await checks();
      const ok = Object.values(found).every((check) => check.ok);
      return json({ status: ok ? "ready" : "not ready", checks: found }, ok ? 200 : 503, {
        "cache-control": "no-store",
      });
    },
    async metrics() {
      const { contentType, text } = await metrics();
      return new Response(text, { headers: { "content-type": contentType } });
    },
  };
}
