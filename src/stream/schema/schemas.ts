// Wires the parts of the schema registry: what this process knows of it, and the sandboxes that evaluate what is in it.
import type { Log } from "../../base/log.ts";
import type { Pool } from "../../storage/pool.ts";
import { createRegistration, type Registration } from "./registration.ts";
import { createRegistry, type Registry } from "./registry.ts";
import { createSandbox, type SandboxCounters } from "./sandbox/sandbox.ts";
import { createSchemaService, type SchemaService } from "./schema-service.ts";
import { createUpcasting, type Upcasting } from "./upcasting.ts";
import { createValidation, type Validation } from "./validation.ts";

export type Schemas = {
  registry: Registry;
  upcasting: Upcasting;
  validation: Validation;
  registration: Registration;
  service: SchemaService;
  /** Of the sandboxes, by name. */
  sandboxes: () => Record<string, SandboxCounters>;
  stop: () => Promise<void>;
};

export type SchemasOptions = {
  reads: Pool;
  writes: Pool;
  publicUrl: () => string;
  /** The last position that is committed. */
  readHead: () => Promise<number>;
  /** Tells the other processes that the registry has changed. */
  announce: () => void;
  log: Log;
};

/** Processor time that one evaluation may take, in milliseconds. */
const limitMs = 1_000;

export async function startSchemas({
  reads,
  writes,
  publicUrl,
  readHead,
  announce,
  log,
}: SchemasOptions): Promise<Schemas> {
  const registry = createRegistry({ pool: reads, publicUrl, log });
  await registry.start();
  // Each has its own, so that an append never waits behind an upcaster, nor either of them behind a large schema.
  const upcasts = createSandbox({ name: "upcasts", limitMs, log });
  const validations = createSandbox({ name: "validations", limitMs, log });
  const inspections = createSandbox({ name: "inspections", limitMs, log });
  return {
    registry,
    upcasting: createUpcasting(registry, upcasts, inspections),
    validation: createValidation({ registry, sandbox: validations, pool: reads, log }),
    registration: createRegistration({ reads, writes, registry, sandbox: inspections, readHead, announce, log }),
    service: createSchemaService(inspections),
    sandboxes: () => ({
      upcasts: upcasts.counters(),
      validations: validations.counters(),
      inspections: inspections.counters(),
    }),
    async stop() {
      await registry.stop();
      await Promise.all([upcasts.stop(), validations.stop(), inspections.stop()]);
    },
  };
}
