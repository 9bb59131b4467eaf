// Events for the examples of the document; what the service would write is written by its own encoders.
import { encodeEvents, encodeFrame } from "../../delivery/sse-frame.ts";
import { envelope, type SchemaLinks, type StoredEvent } from "../../stream/event.ts";
import type { Example } from "./operation.ts";

const placed = { type: "OrderPlaced", data: { orderId: "o-1", amount: 120 } };

const placedInFull = {
  id: "order-1-placed",
  time: "2026-11-21T10:00:00Z",
  subject: "o-1",
  correlationid: "checkout-7",
  partitionkey: "o-1",
  tenant: "acme",
  ...placed,
};

const cloudEvent = { specversion: "1.0", source: "/shop/checkout", ...placedInFull };

const paid = { specversion: "1.0", id: "order-1-paid", source: "/shop/payments", type: "OrderPaid", data: null };

/** Bodies of the append operation, by media type. */
export const appendExamples = {
  json: {
    one: { summary: "One event", value: placed },
    full: { summary: "One event with attributes of its own", value: placedInFull },
    many: { summary: "Several events, all or none", value: [placed, { type: "OrderPaid", data: { orderId: "o-1" } }] },
    binary: {
      summary: "One event with binary data",
      value: { type: "LabelPrinted", datacontenttype: "image/png", data_base64: "iVBORw0KGgo=" },
    },
  },
  cloudEvent: { one: { summary: "One event in structured mode", value: cloudEvent } },
  batch: { many: { summary: "A batch", value: [cloudEvent, paid] } },
  any: { text: { summary: "The data of one event, whose attributes are ce-* headers", value: "Order o-1 was placed" } },
} satisfies Record<string, Record<string, Example>>;

const recordedTime = "2026-11-21T10:00:00.004Z";

const stored: StoredEvent[] = [
  {
    position: 1_041,
    stream: "orders",
    ephemeral: false,
    offset: 16,
    recordedTime,
    id: "order-1-placed",
    type: placed.type,
    schemaVersion: 1,
    correlationId: placedInFull.correlationid,
    partitionKey: placedInFull.partitionkey,
    attributes: '{"source":"/shop/checkout","time":"2026-11-21T10:00:00Z","subject":"o-1","tenant":"acme"}',
    data: JSON.stringify(placed.data),
    binary: null,
    line: null,
    lineRevision: -1,
    shown: null,
  },
  {
    position: 1_042,
    stream: "orders",
    ephemeral: false,
    offset: 17,
    recordedTime,
    id: "01a1fc6e-f08e-7000-8913-94ae6b5a8555",
    type: "OrderPaid",
    schemaVersion: 1,
    correlationId: null,
    partitionKey: null,
    attributes: '{"source":"/sluice/streams/orders"}',
    data: '{"orderId":"o-1"}',
    binary: null,
    line: null,
    lineRevision: -1,
    shown: null,
  },
];

const schemas: SchemaLinks = { revision: () => 0, linkOf: () => null };
const lines = stored.map((event) => envelope(event, schemas));

export const eventExamples = lines.map((line) => JSON.parse(line) as Record<string, unknown>);

/** A replay as lines. */
export const ndjsonExample = lines.map((line) => `${line}\n`).join("");

const logId = "5b0d2a52-6c1f-4a3e-9d57-0f2f3a8f9c11";
const frames = [
  encodeFrame({
    retryMs: 1_868,
    id: 15,
    event: "sluice.ready",
    data: { stream: "orders", from: "16", head: "17", logId },
  }),
  encodeEvents(stored, "offset", false, schemas),
  encodeFrame({ id: 17, event: "sluice.caught-up", data: { at: "17" } }),
  encodeFrame({ comment: "heartbeat", id: 17 }),
];

/** An event stream from offset 16 on. */
export const eventStreamExample = Buffer.concat(frames).toString();

/** An event stream that has reached its `to`. */
export const endedStreamExample = Buffer.concat([
  encodeFrame({
    retryMs: 2_310,
    id: 15,
    event: "sluice.ready",
    data: { stream: "orders", from: "16", head: "17", logId },
  }),
  encodeEvents(stored, "offset", false, schemas),
  encodeFrame({ event: "sluice.progress", data: { sent: "2", total: "2" } }),
  encodeFrame({ id: "end:17", event: "sluice.end", data: { reason: "to" } }),
]).toString();
