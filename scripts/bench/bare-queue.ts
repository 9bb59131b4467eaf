// The yardstick of queues: one in memory behind the same routes, whose answers are about the same bytes. It shows what HTTP
// and the load generator leave room for.

type Message = { offset: number; text: string };
type Queue = { next: number; messages: Message[]; leased: Set<string>; readers: Set<Reader> };
type Reader = { credit: number; write: (frames: string) => void };

const credit = 500;
const deadline = "2026-11-21T10:00:30.000Z";
const queues = new Map<string, Queue>();

function queueOf(name: string): Queue {
  let queue = queues.get(name);
  if (queue === undefined) {
    queue = { next: 0, messages: [], leased: new Set(), readers: new Set() };
    queues.set(name, queue);
  }
  return queue;
}

function append(name: string, queue: Queue, events: readonly { type: string; data: unknown }[]): void {
  for (const { type, data } of events) {
    const offset = queue.messages.length;
    const id = crypto.randomUUID();
    const text =
      `"specversion":"1.0","id":"${id}","source":"/sluice/streams/${name}","type":"${type}","time":"2026-11-21T10:00:00.000Z",` +
      `"datacontenttype":"application/json","stream":"${name}","offset":"${offset}","position":"${offset}",` +
      `"recordedtime":"2026-11-21T10:00:00.004Z","schemaversion":"1"`;
    queue.messages.push({ offset, text: `${text},"data":${JSON.stringify(data)}` });
  }
}

/** Hands out the next messages: each as the text of its attributes with its token. */
function take(queue: Queue, max: number): { text: string; token: string }[] {
  const taken = queue.messages.slice(queue.next, queue.next + max);
  queue.next += taken.length;
  return taken.map(({ offset, text }) => {
    const token = `${offset}.${crypto.randomUUID()}`;
    queue.leased.add(token);
    return { text, token };
  });
}

function claim(queue: Queue, max: number): Response {
  const deliveries = take(queue, max).map(
    ({ text, token }) => `{"event":{${text}},"token":"${token}","attempt":1,"deadline":"${deadline}"}`,
  );
  return json(`{"deliveries":[${deliveries.join(",")}]}`);
}

function settle(queue: Queue, tokens: readonly string[]): Response {
  const results = tokens.map((token) => (queue.leased.delete(token) ? "settled" : "stale"));
  return json(`{"results":["${results.join('","')}"]}`);
}

function feed(queue: Queue): void {
  for (const reader of queue.readers) {
    const taken = take(queue, reader.credit);
    if (taken.length === 0) continue;
    reader.credit -= taken.length;
    const frames = taken.map(
      ({ text, token }) =>
        `id: 1\ndata: {${text},"deliverytoken":"${token}","deliveryattempt":1,"deliverydeadline":"${deadline}"}\n\n`,
    );
    reader.write(frames.join(""));
  }
}

function follow(queue: Queue): Response {
  const encoder = new TextEncoder();
  let reader: Reader;
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      reader = { credit, write: (frames) => controller.enqueue(encoder.encode(frames)) };
      reader.write("event: sluice.ready\ndata: {}\n\n");
      queue.readers.add(reader);
      feed(queue);
    },
    cancel: () => void queue.readers.delete(reader),
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

function json(text: string, status = 200): Response {
  return new Response(text, { status, headers: { "content-type": "application/json" } });
}

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  idleTimeout: 120,
  async fetch(request) {
    const [, , , name = "", what = ""] = new URL(request.url).pathname.split("/");
    const queue = queueOf(name);
    if (request.method === "GET") return follow(queue);
    const body = (await request.json()) as never;
    if (request.method === "PUT") {
      const { stream } = body as { stream?: string };
      // A subscription is another name of the one queue that its stream has here.
      if (stream !== undefined) queues.set(name, queueOf(stream));
      return json("{}", 201);
    }
    switch (what) {
      case "events":
        append(name, queue, Array.isArray(body) ? body : [body]);
        return json("{}", 201);
      case "claims": {
        const { max, wait } = body as { max: number; wait?: string };
        if (wait !== undefined && queue.next === queue.messages.length) await Bun.sleep(100);
        return claim(queue, max);
      }
      default: {
        const { tokens } = body as { tokens: string[] };
        const answer = settle(queue, tokens);
        // Who acknowledges belongs to no connection here: credit goes back to whoever has least.
        const poorest = [...queue.readers].sort((a, b) => a.credit - b.credit)[0];
        if (poorest !== undefined) {
          poorest.credit += tokens.length;
          feed(queue);
        }
        return answer;
      }
    }
  },
});
console.log(`Sluice ready on http://127.0.0.1:${server.port}`);
