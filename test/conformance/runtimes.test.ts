// The same service on Bun and on Deno: one answers like the other.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { append } from "../support/client.ts";
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

    test("a reader that stops reading keeps no process from its end", async () => {
      const env = { DATABASE_URL: await createTestDatabase(), SHUTDOWN_TIMEOUT: "300ms" };
      const stubborn = await spawnService(env, command);
      const filler = "x".repeat(100_000);
      const events = Array.from({ length: 9 }, () => ({ type: "A", data: filler }));
      for (let n = 0; n < 20; n++) expect((await append(stubborn.url, "long", events)).status).toBe(201);
      const { port } = new URL(stubborn.url);
      const socket = connect(Number(port), "127.0.0.1");
      socket.on("error", () => {});
      socket.write("GET /api/events HTTP/1.1\r\nhost: test\r\naccept: application/x-ndjson\r\n\r\n");
      await new Promise((resolve) => socket.once("data", resolve));
      socket.pause();
      stubborn.kill("SIGTERM");
      expect(await stubborn.exited).toBe(0);
      socket.destroy();
    }, 30_000);

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
