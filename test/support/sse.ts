// Reads an event stream as EventSource does (WHATWG HTML, section 9.2.6), frame by frame.
import { until } from "./until.ts";

export type Frame = { id: string | null; event: string | null; data: string | null };

export type EventStream = {
  status: number;
  headers: Headers;
  /** All frames so far; comments are left out. */
  frames: Frame[];
  /** The events so far: unnamed frames and those whose name is not the service's, parsed. */
  events: () => Record<string, unknown>[];
  /** The last event id, as EventSource would send it on a reconnect. */
  lastEventId: () => string;
  /** Waits until the condition holds over the frames. */
  until: (what: string, condition: (stream: EventStream) => unknown) => Promise<void>;
  /** Whether the server has ended the stream. */
  ended: () => boolean;
  close: () => void;
};

export async function openEventStream(url: string, headers: Record<string, string> = {}): Promise<EventStream> {
  const abort = new AbortController();
  const response = await fetch(url, { headers: { accept: "text/event-stream", ...headers }, signal: abort.signal });
  const frames: Frame[] = [];
  let lastEventId = "";
  let ended = false;

  async function read(): Promise<void> {
    if (response.body === null) return;
    const decoder = new TextDecoder();
    let text = "";
    for await (const chunk of response.body) {
      text += decoder.decode(chunk, { stream: true });
      for (let end = text.indexOf("\n\n"); end !== -1; end = text.indexOf("\n\n")) {
        const frame = parse(text.slice(0, end));
        text = text.slice(end + 2);
        if (frame.id !== null) lastEventId = frame.id;
        if (frame.data !== null || frame.event !== null || frame.id !== null) frames.push(frame);
      }
    }
  }

  const reading = read()
    .catch(() => {})
    .then(() => {
      ended = true;
    });
  const stream: EventStream = {
    status: response.status,
    headers: response.headers,
    frames,
    events: () =>
      frames
        .filter((f) => f.data !== null && !(f.event ?? "").startsWith("sluice."))
        .map((f) => JSON.parse(f.data as string) as Record<string, unknown>),
    lastEventId: () => lastEventId,
    until: async (what, condition) => {
      await until(what, () => Boolean(condition(stream)));
    },
    ended: () => ended,
    close: () => {
      abort.abort();
      void reading;
    },
  };
  return stream;
}

function parse(text: string): Frame {
  const frame: Frame = { id: null, event: null, data: null };
  for (const line of text.split("\n")) {
    const at = line.indexOf(":");
    if (at <= 0) continue;
    const field = line.slice(0, at);
    const value = line.slice(at + 1).replace(/^ /, "");
    if (field === "id") frame.id = value;
    else if (field === "event") frame.event = value;
    else if (field === "data") frame.data = frame.data === null ? value : `${frame.data}\n${value}`;
  }
  return frame;
}
