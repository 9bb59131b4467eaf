// A stream that a module brings along, with its configuration.
import { streamName } from "../../stream/event.ts";

/** The body of `PUT /api/streams/{name}`. */
export type StreamOptions = {
  type?: "persistent" | "ephemeral";
  delivery?: "at-most-once" | "at-least-once" | "exactly-once";
  retention?: { maxAge?: string; maxBytes?: number; maxEvents?: number };
  replay?: boolean;
  visibilityTimeout?: string;
  maxAttempts?: number;
  backoff?: { initial?: string; factor?: number; max?: string };
  validation?: "off" | "warn" | "enforce";
  scope?: "internal" | "cross-service";
  /** Of a cross-service stream: what it has in NATS. */
  nats?: {
    stream?: string;
    subject?: string;
    mode?: "binary" | "structured";
    retention?: { maxAge?: string; maxBytes?: number; maxEvents?: number };
    replicas?: number;
    storage?: "file" | "memory";
  };
};

/** A stream with its configuration, which is put at the start. */
export type StreamDefinition = { readonly kind: "stream"; readonly name: string; readonly options: StreamOptions };

/** A stream of a module. Throws on a name that is none; the configuration is checked as the service starts. */
export function defineStream(name: string, options: StreamOptions = {}): StreamDefinition {
  if (!streamName.test(name)) throw new Error(`${JSON.stringify(name)} is no name of a stream`);
  return { kind: "stream", name, options };
}

/** The name of a stream that is given by its name or by its definition. */
export function nameOf(stream: string | StreamDefinition): string {
  return typeof stream === "string" ? stream : stream.name;
}
