// The yardstick of appends: a bare Elysia route that validates the same body and answers about the same bytes.
import { Elysia } from "elysia";
import { EventInput } from "../../src/stream/event-input.ts";

const app = new Elysia()
  .post(
    "/api/streams/:name/events",
    ({ params, body, set }) => {
      set.status = 201;
      set.headers.etag = '"0"';
      return {
        stream: params.name,
        firstOffset: "0",
        lastOffset: "0",
        lastPosition: "0",
        events: [{ id: body.id ?? "0", offset: "0", duplicate: false }],
      };
    },
    { body: EventInput },
  )
  .listen({ hostname: "127.0.0.1", port: 0 });
console.log(`Sluice ready on http://127.0.0.1:${app.server?.port}`);
