import { expect, test } from "bun:test";
import { append, send } from "../support/client.ts";
import { startService } from "../support/service.ts";

test("more reads at once than there are connections all come to an answer", async () => {
  const service = await startService({ DATABASE_POOL_SIZE: "1" });
  await append(service.url, "busy", [{ type: "A" }, { type: "B" }]);
  const paths = [
    "streams/busy/events/0",
    "streams/busy/events",
    "streams/busy",
    "streams",
    "events?types=A",
    "streams/busy/events/1",
  ];
  const answers = await Promise.all(
    Array.from({ length: 5 }, () => paths)
      .flat()
      .map((path) => send(`${service.url}/api/${path}`)),
  );
  expect(answers.map((answer) => answer.status)).toEqual(answers.map(() => 200));
  await service.stop();
});
