// Opens many event streams by raw sockets and prints, once a second, how many bytes all of them have received.

const [url = "", path = "/", count = "1000"] = process.argv.slice(2);
const { hostname, port } = new URL(url);
const total = Number(count);
let open = 0;
let bytes = 0;

for (let i = 0; i < total; i++) {
  await Bun.connect({
    hostname,
    port: Number(port),
    socket: {
      open(socket) {
        socket.write(`GET ${path} HTTP/1.1\r\nhost: bench\r\naccept: text/event-stream\r\n\r\n`);
        open++;
      },
      data(_, chunk) {
        bytes += chunk.byteLength;
      },
      close() {
        open--;
      },
      error() {},
    },
  });
}
setInterval(() => console.log(JSON.stringify({ open, bytes, at: performance.now() })), 500);
