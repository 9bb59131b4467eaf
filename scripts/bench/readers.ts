// Opens many event streams by raw sockets and prints, twice a second, how many have begun and how many bytes came.

const [url = "", path = "/", count = "1000"] = process.argv.slice(2);
const { hostname, port } = new URL(url);
let begun = 0;
let closed = 0;
let bytes = 0;

for (let i = 0; i < Number(count); i++) {
  let isNew = true;
  await Bun.connect({
    hostname,
    port: Number(port),
    socket: {
      open(socket) {
        socket.write(`GET ${path} HTTP/1.1\r\nhost: bench\r\naccept: text/event-stream\r\n\r\n`);
      },
      data(_, chunk) {
        if (isNew) begun++;
        isNew = false;
        bytes += chunk.byteLength;
      },
      close() {
        closed++;
      },
      error() {},
    },
  });
}
setInterval(() => console.log(JSON.stringify({ begun, closed, bytes, at: performance.now() })), 500);
