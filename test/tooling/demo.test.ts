// The demonstration of two services runs to its end, and shows what it says.
import { expect, test } from "bun:test";
import { natsServerPath } from "../support/nats-server.ts";

test.skipIf(natsServerPath === null)(
  "users who come and go at one service are streamed and counted by the other",
  async () => {
    const demo = Bun.spawn(["scripts/demo-two-services"], {
      cwd: new URL("../../", import.meta.url).pathname,
      env: { ...process.env, NATS_SERVER: natsServerPath ?? "" },
      stdout: "pipe",
      stderr: "pipe",
    });
    const [output, errors] = await Promise.all([new Response(demo.stdout).text(), new Response(demo.stderr).text()]);
    expect({ code: await demo.exited, errors: demo.exitCode === 0 ? "" : errors }).toEqual({ code: 0, errors: "" });
    const types = [...output.matchAll(/^data: .*?"type":"(\w+)"/gm)].map(([, type]) => type);
    expect(types).toEqual(["UserRegistered", "UserRegistered", "UserRemoved"]);
    expect(output).toContain('{"came":2,"went":1,');
    expect(output).toContain('"state":"publishing"');
    expect(output).toContain('"state":"mirroring"');
  },
  120_000,
);
