// The yardstick of fan-out: a bare Bun server that writes the same bytes to every connection, as fast as they are taken.

const frames = Number(process.argv[2] ?? 100);
const expected = Number(process.argv[3] ?? 1_000);
const frame = Buffer.from(process.argv[4] ?? "", "base64").toString();
const chunk = new TextEncoder().encode(frame.repeat(frames));
const connections = new Set<ReadableStreamDefaultController<Uint8Array>>();

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  idleTimeout: 120,
  fetch() {
    let mine: ReadableStreamDefaultController<Uint8Array>;
    const body = new ReadableStream<Uint8Array>(
      {
        start(controller) {
          mine = controller;
          controller.enqueue(new TextEncoder().encode(": ready\n\n"));
          connections.add(controller);
        },
        cancel() {
          connections.delete(mine);
        },
      },
      { highWaterMark: 65_536, size: (piece) => piece?.byteLength ?? 0 },
    );
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  },
});

setInterval(() => {
  if (connections.size < expected) return;
  for (const connection of connections) if ((connection.desiredSize ?? 0) > 0) connection.enqueue(chunk);
}, 1);
console.log(`Sluice ready on http://127.0.0.1:${server.port}`);
