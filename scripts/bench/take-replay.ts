// Takes a replay by a raw socket, so that the client costs as little as it can.

export type Taken = { seconds: number; bytes: number };

/** Takes a replay as NDJSON, and checks that it ends with the event of this position. */
export async function takeReplay(url: string, path: string, lastPosition: number): Promise<Taken> {
  const { hostname, port } = new URL(url);
  const { promise, resolve } = Promise.withResolvers<void>();
  let bytes = 0;
  let end = Buffer.alloc(0);
  const started = performance.now();
  await Bun.connect({
    hostname,
    port: Number(port),
    socket: {
      open(socket) {
        socket.write(
          `GET ${path} HTTP/1.1\r\nhost: bench\r\naccept: application/x-ndjson\r\nconnection: close\r\n\r\n`,
        );
      },
      data(_, chunk) {
        bytes += chunk.byteLength;
        end = Buffer.concat([end, chunk.subarray(-1_000)]).subarray(-1_000);
      },
      close: () => resolve(),
    },
  });
  await promise;
  const seconds = (performance.now() - started) / 1_000;
  const text = end.toString();
  if (!text.endsWith("0\r\n\r\n") || !text.includes(`"position":"${lastPosition}"`))
    throw new Error(`the replay broke off: ${text}`);
  return { seconds, bytes };
}
