// A plain HTTP/1.1 connection that sends each request exactly once and knows whether an answer came whole.
import { createConnection, type Socket } from "node:net";

export type HttpRequest = {
  method: "GET" | "POST" | "PUT" | "DELETE";
  path: string;
  headers?: Record<string, string>;
  body?: string;
  /** Gives up when nothing arrives for so long. */
  silenceMs: number;
  /** Called when the status is known. */
  onHead?: (status: number) => void;
  /** Takes the body piece by piece; else it is collected. */
  onBody?: (chunk: Buffer) => void;
};

export type HttpAnswer = { status: number; headers: Map<string, string>; body: string };

export type HttpConnection = {
  /** Resolves with a whole answer; rejects when the connection broke before. One request at a time. */
  send: (request: HttpRequest) => Promise<HttpAnswer>;
  /** Stops reading until `resume`, so that the server meets a reader who does not read. */
  pause: () => void;
  resume: () => void;
  close: () => void;
};

/** A connection to a port of 127.0.0.1, opened with the first request and kept while the answers come whole. */
export function createHttpConnection(port: number): HttpConnection {
  let kept: Socket | null = null;
  let current: Socket | null = null;
  // Settles the request under way: not every runtime tells of the end of a socket that is destroyed while it connects.
  let abandon = () => {};

  function send(request: HttpRequest): Promise<HttpAnswer> {
    const socket = kept ?? createConnection({ port, host: "127.0.0.1", noDelay: true });
    kept = null;
    current = socket;
    return new Promise((resolve, reject) => {
      const parser = createParser(request);
      abandon = () => finish(new Error("the client closed the connection"));
      const finish = (error: Error | null) => {
        abandon = () => {};
        socket.removeAllListeners();
        socket.on("error", () => {});
        socket.setTimeout(0);
        if (current === socket) current = null;
        if (error !== null) {
          socket.destroy();
          return reject(error);
        }
        if (parser.answer.headers.get("connection") === "close") socket.destroy();
        else {
          kept = socket;
          socket.once("close", () => {
            if (kept === socket) kept = null;
          });
        }
        resolve(parser.answer);
      };
      socket.on("data", (chunk: Buffer) => {
        try {
          if (parser.take(chunk)) finish(null);
        } catch (error) {
          finish(error as Error);
        }
      });
      socket.on("error", (error: Error) => finish(error));
      socket.on("close", () => finish(new Error("the connection was closed")));
      socket.on("end", () => finish(new Error("the connection was ended")));
      socket.setTimeout(request.silenceMs, () => finish(new Error(`nothing came for ${request.silenceMs} ms`)));
      const body = request.body ?? "";
      const headers = { host: "sluice", ...(body === "" ? {} : { "content-length": String(Buffer.byteLength(body)) }) };
      const lines = Object.entries({ ...headers, ...request.headers }).map(([name, value]) => `${name}: ${value}\r\n`);
      socket.write(`${request.method} ${request.path} HTTP/1.1\r\n${lines.join("")}\r\n${body}`);
    });
  }

  return {
    send,
    pause: () => current?.pause(),
    resume: () => current?.resume(),
    close() {
      kept?.destroy();
      kept = null;
      abandon();
    },
  };
}

/** Reads one response (RFC 9112); `take` says whether it is complete. Throws on what is none. */
function createParser(request: HttpRequest) {
  const answer: HttpAnswer = { status: 0, headers: new Map(), body: "" };
  const collected: Buffer[] = [];
  let pending: Buffer = Buffer.alloc(0);
  let state: "head" | "length" | "size" | "chunk" | "trailer" = "head";
  let left = 0;

  function line(): string | null {
    const end = pending.indexOf("\r\n");
    if (end === -1) return null;
    const text = pending.toString("latin1", 0, end);
    pending = pending.subarray(end + 2);
    return text;
  }

  function body(): void {
    const piece = pending.subarray(0, left);
    pending = pending.subarray(piece.length);
    left -= piece.length;
    if (piece.length === 0) return;
    if (request.onBody !== undefined && answer.status === 200) request.onBody(piece);
    else collected.push(Buffer.from(piece));
  }

  function head(): boolean {
    const end = pending.indexOf("\r\n\r\n");
    if (end === -1) return false;
    const [first = "", ...fields] = pending.toString("latin1", 0, end).split("\r\n");
    pending = pending.subarray(end + 4);
    const status = /^HTTP\/1\.1 (\d{3})/.exec(first)?.[1];
    if (status === undefined) throw new Error(`not an answer: ${first.slice(0, 100)}`);
    answer.status = Number(status);
    for (const field of fields) {
      const at = field.indexOf(":");
      answer.headers.set(field.slice(0, at).toLowerCase(), field.slice(at + 1).trim());
    }
    request.onHead?.(answer.status);
    const chunked = answer.headers.get("transfer-encoding") === "chunked";
    left = chunked || answer.status === 204 ? 0 : Number(answer.headers.get("content-length") ?? Number.NaN);
    if (Number.isNaN(left)) throw new Error("an answer without a length");
    state = chunked ? "size" : "length";
    return true;
  }

  function take(chunk: Buffer): boolean {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    for (;;) {
      if (state === "head") {
        if (!head()) return false;
      } else if (state === "length") {
        body();
        if (left > 0) return false;
        break;
      } else if (state === "size") {
        const text = line();
        if (text === null) return false;
        left = Number.parseInt(text, 16);
        if (Number.isNaN(left)) throw new Error(`not a chunk: ${text.slice(0, 100)}`);
        state = left === 0 ? "trailer" : "chunk";
      } else if (state === "chunk") {
        body();
        if (left > 0 || line() === null) return false;
        state = "size";
      } else {
        if (line() === null) return false;
        break;
      }
    }
    answer.body = Buffer.concat(collected).toString("utf8");
    return true;
  }

  return { answer, take };
}
