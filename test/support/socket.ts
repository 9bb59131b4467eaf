// Raw HTTP/1.1 over a socket: what fetch would never send.
import { connect } from "node:net";

export type RawAnswer = {
  /** All bytes that came, as text. */
  text: string;
  /** The status codes in the order of the answers; interim ones are left out. */
  statuses: number[];
  closed: boolean;
};

/**
 * Writes the pieces one after another, `gapMs` apart, and collects what comes back until the server closes the
 * connection or `enough` says so. Rejects when neither happens within 10 s.
 */
export function sendRaw(
  url: string,
  pieces: readonly (string | Uint8Array)[],
  options: { gapMs?: number; enough?: (answer: RawAnswer) => boolean } = {},
): Promise<RawAnswer> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const answer: RawAnswer = { text: "", statuses: [], closed: false };
    const socket = connect(Number(port), hostname, async () => {
      for (const piece of pieces) {
        if (socket.destroyed) break;
        socket.write(piece);
        if (options.gapMs !== undefined) await new Promise((next) => setTimeout(next, options.gapMs));
      }
    });
    const timer = setTimeout(() => end(new Error(`no end of the answer: ${answer.text.slice(0, 500)}`)), 10_000);
    const end = (error: Error | null) => {
      clearTimeout(timer);
      socket.destroy();
      if (error) reject(error);
      else resolve(answer);
    };
    socket.setEncoding("latin1");
    socket.on("data", (text) => {
      answer.text += text;
      answer.statuses = [...answer.text.matchAll(/HTTP\/1\.1 ([2-5]\d\d) /g)].map((match) => Number(match[1]));
      if (options.enough?.(answer)) end(null);
    });
    // A reset after the answer is a close as well: what the server did not read is still under way.
    socket.on("error", () => {});
    socket.on("close", () => {
      answer.closed = true;
      end(null);
    });
  });
}

/** Opens a connection, writes the text, and cuts the connection off. */
export function sendAndVanish(url: string, text: string): Promise<void> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname, () => socket.write(text, () => socket.resetAndDestroy()));
    socket.on("error", () => {});
    socket.on("close", () => resolve());
  });
}
