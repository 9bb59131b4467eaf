// The same service on Bun and on Deno: one answers like the other.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createTestDatabase } from "../support/postgres.ts";
import { denoCommand, type ServiceProcess, spawnService } from "../support/service.ts";
import { openEventStream } from "../support/sse.ts";
import { conformance } from "./cases.ts";

for (const [runtime, command] of [
  ["Bun", [process.execPath]],
  ["Deno", denoCommand()],
] as const) {
  describe(`on ${runtime}`, () => {
    let service: ServiceProcess;
    beforeAll(async () => {
      service = await spawnService({ DATABASE_URL: await createTestDatabase() }, command);
    }, 30_000);
    afterAll(async () => {
      service.kill("SIGKILL");
      await service.exited;
    });

    conformance(() => service.url);

    test("SIGTERM ends its event streams with a word, and then itself", async () => {
      const stream = await openEventStream(`${service.url}/api/events`);
      await stream.until("it is live", () => stream.frames.some((frame) => frame.event === "sluice.caught-up"));
      service.kill("SIGTERM");
      expect(await service.exited).toBe(0);
      await stream.until("it has ended", () => stream.ended());
      expect(stream.frames.at(-1)).toMatchObject({ event: "sluice.end", data: '{"reason":"shutting-down"}' });
    }, 30_000);
  });
}
