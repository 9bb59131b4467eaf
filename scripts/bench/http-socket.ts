// HTTP/1.1 over a raw socket, one request at a time: what a whole client would add to the load stays away from the measured.

export type Answer = { status: number; text: string };

export type Connection = {
  /** Resolves with the answer, whose text is of bytes as characters (latin1). Rejects when the connection breaks. */
  request: (method: string, path: string, body?: string) => Promise<Answer>;
  close: () => void;
};

/** Opens a connection that is kept. Its answers must say their length; bodies given to it are of ASCII characters. */
export async function openConnection(url: string): Promise<Connection> {
  let waiting: PromiseWithResolvers<Answer> | null = null;
  let text = "";
  let end = -1;
  const fail = (why: string) => {
    waiting?.reject(new Error(why));
    waiting = null;
  };
  const socket = await openSocket(url, {
    data(piece) {
      text += piece;
      if (end < 0) {
        const head = text.indexOf("\r\n\r\n");
        if (head < 0) return;
        const length = /\r\ncontent-length: *(\d+)/i.exec(text.slice(0, head + 2))?.[1];
        if (length === undefined && text.slice(9, 12) !== "204") return fail("an answer without a content-length");
        end = head + 4 + Number(length ?? 0);
      }
      if (text.length < end) return;
      const answer = { status: Number(text.slice(9, 12)), text: text.slice(text.indexOf("\r\n\r\n") + 4, end) };
      text = "";
      end = -1;
      waiting?.resolve(answer);
    },
    close: () => fail("the connection was closed"),
  });
  return {
    request(method, path, body = "") {
      waiting = Promise.withResolvers<Answer>();
      const head = `${method} ${path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: ${body.length}`;
      socket.write(`${head}\r\n\r\n${body}`);
      return waiting.promise;
    },
    close() {
      waiting = null;
      socket.close();
    },
  };
}

export type EventStream = { close: () => void };

export type EventStreamHandler = {
  /** Gets whole frames, one or many. What it throws ends the stream. */
  frames: (text: string) => void;
  /** The stream broke or ended. */
  failed: (error: Error) => void;
};

/** Opens an event stream; resolves when its answer has begun. */
export async function openEventStream(url: string, path: string, handler: EventStreamHandler): Promise<EventStream> {
  const begun = Promise.withResolvers<void>();
  let head: string | null = "";
  let frames = "";
  let isClosed = false;
  const body = createDechunker((piece) => {
    frames += piece;
    const end = frames.lastIndexOf("\n\n") + 2;
    if (end < 2) return;
    const whole = frames.slice(0, end);
    frames = frames.slice(end);
    try {
      handler.frames(whole);
    } catch (error) {
      fail(error as Error);
    }
  });
  const fail = (error: Error) => {
    if (isClosed) return;
    isClosed = true;
    begun.reject(error);
    handler.failed(error);
  };
  const socket = await openSocket(url, {
    data(piece) {
      if (head === null) return body(piece);
      head += piece;
      const at = head.indexOf("\r\n\r\n");
      if (at < 0) return;
      if (head.slice(9, 12) !== "200") return fail(new Error(`an event stream was answered ${head.slice(9)}`));
      const first = head.slice(at + 4);
      head = null;
      begun.resolve();
      body(first);
    },
    close: () => fail(new Error("an event stream was closed")),
  });
  socket.write(`GET ${path} HTTP/1.1\r\nhost: bench\r\naccept: text/event-stream\r\n\r\n`);
  await begun.promise;
  return {
    close() {
      isClosed = true;
      socket.close();
    },
  };
}

/** Takes the content out of the chunked transfer coding (RFC 9112, section 7.1). */
function createDechunker(content: (piece: string) => void): (piece: string) => void {
  let rest = "";
  let left = 0;
  return (piece) => {
    const text = rest + piece;
    let at = 0;
    rest = "";
    while (at < text.length) {
      if (left > 0) {
        const part = text.slice(at, at + left);
        at += part.length;
        left -= part.length;
        content(part);
        continue;
      }
      // The line with the size of the next chunk; before it the end of the line that closed the last.
      const end = text.indexOf("\r\n", at);
      if (end < 0) {
        rest = text.slice(at);
        return;
      }
      if (end > at) left = Number.parseInt(text.slice(at, end), 16);
      at = end + 2;
    }
  };
}

type SocketHandler = { data: (piece: string) => void; close: () => void };

/** A socket that takes a text of any length, and sends what the system does not take at once when it can. */
async function openSocket(
  url: string,
  handler: SocketHandler,
): Promise<{ write: (text: string) => void; close: () => void }> {
  const { hostname, port } = new URL(url);
  let unsent = "";
  const socket = await Bun.connect({
    hostname,
    port: Number(port),
    socket: {
      data: (_, chunk) => handler.data(chunk.toString("latin1")),
      drain(opened) {
        unsent = unsent.slice(opened.write(unsent));
      },
      close: handler.close,
      error: handler.close,
    },
  });
  return {
    write(text) {
      unsent += text;
      unsent = unsent.slice(socket.write(unsent));
    },
    close: () => socket.terminate(),
  };
}
