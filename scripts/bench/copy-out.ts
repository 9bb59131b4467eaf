// Reads COPY … TO STDOUT as fast as Postgres writes it: its protocol's messages are received, and not looked into.

/** Runs one COPY over a socket without a password; returns how many seconds it took and the bytes that came. */
export async function copyOut(
  socket: { host: string; port: number; username: string },
  schema: string,
  query: string,
): Promise<{ seconds: number; bytes: number }> {
  const ready = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);
  let bytes = 0;
  let resolveReady = () => {};
  let reject: (error: Error) => void = () => {};
  const connection = await Bun.connect({
    unix: `${socket.host}/.s.PGSQL.${socket.port}`,
    socket: {
      data(_, chunk) {
        bytes += chunk.byteLength;
        if (chunk[0] === 0x45) reject(new Error(`COPY failed: ${chunk.toString("latin1")}`));
        // ReadyForQuery is the last message of every answer.
        if (chunk.subarray(-ready.length).equals(ready)) resolveReady();
      },
      close: () => reject(new Error("Postgres closed the connection")),
    },
  });
  const answered = () =>
    new Promise<void>((resolve, fail) => {
      resolveReady = resolve;
      reject = fail;
    });
  try {
    const connected = answered();
    const parameters = ["user", socket.username, "database", "sluice", "search_path", schema, "", ""].join("\0");
    connection.write(message(Buffer.concat([int32(196_608), Buffer.from(parameters, "latin1")])));
    await connected;
    bytes = 0;
    const started = performance.now();
    const copied = answered();
    connection.write(Buffer.concat([Buffer.from("Q"), message(Buffer.from(`${query}\0`))]));
    await copied;
    return { seconds: (performance.now() - started) / 1_000, bytes };
  } finally {
    reject = () => {};
    connection.terminate();
  }
}

function message(content: Buffer): Buffer {
  return Buffer.concat([int32(content.length + 4), content]);
}

function int32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeInt32BE(value);
  return buffer;
}
