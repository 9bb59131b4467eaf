// Opens event streams, keeps what comes with its time, and prints at the end how long after its append each event came.
import { percentile } from "./pairs.ts";

const [url = "", path = "/", count = "100"] = process.argv.slice(2);
const { hostname, port } = new URL(url);
const received: { at: number; text: string }[][] = [];
let begun = 0;

for (let i = 0; i < Number(count); i++) {
  const chunks: { at: number; text: string }[] = [];
  received.push(chunks);
  await Bun.connect({
    hostname,
    port: Number(port),
    socket: {
      open(socket) {
        socket.write(`GET ${path} HTTP/1.1\r\nhost: bench\r\naccept: text/event-stream\r\n\r\n`);
      },
      data(_, chunk) {
        if (chunks.length === 0 && ++begun === Number(count)) console.log("begun");
        // To look into it now would delay the readers whose turn comes next.
        chunks.push({ at: performance.timeOrigin + performance.now(), text: chunk.toString("latin1") });
      },
      error() {},
    },
  });
}

process.on("SIGTERM", () => {
  const delays: number[] = [];
  for (const chunks of received) {
    let rest = "";
    for (const { at, text } of chunks) {
      rest += text;
      const end = rest.lastIndexOf("\n\n");
      for (const [, sent] of rest.slice(0, end + 2).matchAll(/"sentMs":([\d.]+)/g)) delays.push(at - Number(sent));
      rest = rest.slice(end + 2);
    }
  }
  const result = { events: delays.length, p50Ms: percentile(delays, 0.5), p99Ms: percentile(delays, 0.99) };
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
});
