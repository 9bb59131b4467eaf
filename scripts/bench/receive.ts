// Event streams that receive: a program reads most of them and counts bytes, one more reader here counts events.
import { end, program, spawnProgram } from "./processes.ts";
import type { RunningLoad } from "./wrk.ts";

type Sample = { begun: number; closed: number; bytes: number; at: number };

export type Readers = {
  next: () => Promise<Sample>;
  stop: () => Promise<void>;
};

const marker = Buffer.from('"type":"OrderPlaced"');

/** Opens event streams; resolves when all of them have begun. */
export async function openReaders(url: string, path: string, connections: number): Promise<Readers> {
  const child = spawnProgram(program("readers.ts", url, path, connections));
  const output = child.stdout.getReader();
  const decoder = new TextDecoder();
  const next = async (): Promise<Sample> => {
    for (;;) {
      const { value, done } = await output.read();
      if (done) throw new Error("the readers ended");
      const line = decoder.decode(value).trim().split("\n").at(-1);
      if (!line) continue;
      const sample = JSON.parse(line) as Sample;
      if (sample.closed > 0) throw new Error(`${sample.closed} event streams were closed`);
      return sample;
    }
  };
  while ((await next()).begun < connections);
  return { next, stop: () => end(child) };
}

/** Events a second that many event streams receive together, while a load runs. */
export async function receive(
  url: string,
  path: string,
  connections: number,
  seconds: number,
  startLoad: () => RunningLoad,
): Promise<number> {
  const readers = await openReaders(url, path, connections);
  const counted = await countEvents(url, path);
  const load = startLoad();
  let sample = await readers.next();
  // The first second is warming up.
  for (const begun = sample.at; sample.at - begun < 1_000; sample = await readers.next());
  const first = sample;
  while (sample.at - first.at < seconds * 1_000) sample = await readers.next();
  await load.stop();
  counted.stop();
  await readers.stop();
  const bytesPerSecond = (sample.bytes - first.bytes) / ((sample.at - first.at) / 1_000);
  return bytesPerSecond / counted.bytesPerEvent();
}

/** One event stream that counts its events: what the bytes of the others are worth. */
async function countEvents(url: string, path: string): Promise<{ bytesPerEvent: () => number; stop: () => void }> {
  const { hostname, port } = new URL(url);
  let bytes = 0;
  let events = 0;
  const socket = await Bun.connect({
    hostname,
    port: Number(port),
    socket: {
      open(opened) {
        opened.write(`GET ${path} HTTP/1.1\r\nhost: bench\r\naccept: text/event-stream\r\n\r\n`);
      },
      data(_, chunk) {
        bytes += chunk.byteLength;
        for (let at = chunk.indexOf(marker); at >= 0; at = chunk.indexOf(marker, at + 1)) events++;
      },
      error() {},
    },
  });
  return {
    bytesPerEvent: () => bytes / events,
    stop: () => socket.terminate(),
  };
}
