// Reads request bodies: bounded in bytes and in time, and as strict UTF-8.
import { bodyTooLarge, malformedBody, Problem } from "../base/errors.ts";

export type BodyReader = {
  /** The bytes of the body. Throws `body-too-large`, `request-timeout`, `unsupported-media-type` for a compressed one,
   * and `malformed-body` when the client breaks off. */
  bytes: (request: Request) => Promise<Uint8Array>;
  /** The body as text. Throws also `malformed-body` when it is not UTF-8. */
  text: (request: Request) => Promise<string>;
  stop: () => void;
};

export type BodyLimits = { maxBytes: number; timeoutMs: number };

const decoder = new TextDecoder("utf-8", { fatal: true });

/** Decodes strict UTF-8 (RFC 3629). Throws `malformed-body`. */
export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw malformedBody("The body is not valid UTF-8");
  }
}

export function createBodyReader({ maxBytes, timeoutMs }: BodyLimits): BodyReader {
  // All bodies have the same time: the list is in the order of their deadlines, and one timer serves them all.
  type Waiting = { deadline: number; reject: ((problem: Problem) => void) | null };
  let waiting: Waiting[] = [];
  const timer = setInterval(expire, Math.min(1_000, timeoutMs / 2));

  function expire(): void {
    const now = Date.now();
    waiting = waiting.filter((entry) => entry.reject !== null);
    for (const entry of waiting) {
      if (entry.deadline > now) break;
      entry.reject?.(new Problem("request-timeout", `The body did not arrive within ${timeoutMs} ms`));
    }
  }

  function inTime<T>(body: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const entry: Waiting = { deadline: Date.now() + timeoutMs, reject };
      waiting.push(entry);
      body.then(
        (value) => {
          entry.reject = null;
          resolve(value);
        },
        (error: unknown) => {
          entry.reject = null;
          reject(error instanceof Problem ? error : malformedBody("The body broke off"));
        },
      );
    });
  }

  async function readChunks(body: ReadableStream<Uint8Array>): Promise<Uint8Array> {
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of body) {
      size += chunk.byteLength;
      if (size > maxBytes) throw bodyTooLarge(maxBytes);
      chunks.push(chunk);
    }
    const bytes = new Uint8Array(size);
    let at = 0;
    for (const chunk of chunks) {
      bytes.set(chunk, at);
      at += chunk.byteLength;
    }
    return bytes;
  }

  async function bytes(request: Request): Promise<Uint8Array> {
    const encoding = request.headers.get("content-encoding") ?? "identity";
    if (encoding.toLowerCase() !== "identity") {
      throw new Problem("unsupported-media-type", "Bodies are taken as they are, without a Content-Encoding");
    }
    const length = request.headers.get("content-length");
    if (length !== null) {
      if (Number(length) > maxBytes) throw bodyTooLarge(maxBytes);
      return new Uint8Array(await inTime(request.arrayBuffer()));
    }
    return request.body === null ? new Uint8Array() : inTime(readChunks(request.body));
  }

  return {
    bytes,
    text: async (request) => decodeUtf8(await bytes(request)),
    stop: () => clearInterval(timer),
  };
}
