// What a mirror has of an event is what the first service had, whatever headers and payloads cannot say.
import { expect, test } from "bun:test";
import { readMessage } from "../../../src/delivery/bridge/inbound/message.ts";
import { type Message, type Mode, messageOf } from "../../../src/delivery/bridge/outbound/message.ts";
import type { NewEvent, StoredEvent } from "../../../src/stream/event.ts";

const logId = "0b6f3f52-1b6f-4c06-9a53-6f6d0b2f7a01";

type Data = { data: string | null; binary: Uint8Array<ArrayBuffer> | null };

function published(
  attributes: Record<string, unknown>,
  mode: Mode,
  { data, binary }: Data = { data: "{}", binary: null },
): Message {
  const event: StoredEvent = {
    position: 7,
    stream: "sums",
    ephemeral: false,
    offset: 3,
    recordedTime: "2026-01-01T00:00:00.000Z",
    id: "s-1",
    type: "Summed",
    schemaVersion: 1,
    correlationId: null,
    partitionKey: null,
    attributes: JSON.stringify({ source: "/s", ...attributes }),
    data,
    binary,
    line: null,
    lineRevision: 0,
    shown: null,
  };
  return messageOf(event, mode, logId, { revision: () => 0, linkOf: () => null });
}

function read({ headers, data }: Message, more: Message["headers"] = []): NewEvent {
  const context = {
    stream: "sums",
    service: "svcb",
    logId: "1b6f3f52-1b6f-4c06-9a53-6f6d0b2f7a01",
    maxEventBytes: 1_000_000,
    source: { service: "svca", stream: "sums" },
  };
  const message = { jetstream: "svca_sums", sequence: 1, storedMs: 1, subject: "svca.sums.Summed", data };
  const { event } = readMessage({ ...message, headers: [...headers, ...more] }, context);
  if (event instanceof Error) throw event;
  return event;
}

const mirrored = (message: Message, more: Message["headers"] = []): Record<string, unknown> =>
  JSON.parse(read(message, more).attributes);

for (const mode of ["binary", "structured"] as const)
  test(`integers and booleans come as they went, in ${mode} mode`, () => {
    const attributes = { count: -12, greatest: 2_147_483_647, none: 0, yes: true, no: false, text: "12", word: "true" };
    expect(mirrored(published(attributes, mode))).toMatchObject(attributes);
  });

test("nothing is said of texts", () => {
  const { headers } = published({ tenant: "acme" }, "binary");
  expect(headers.filter(([name]) => !name.startsWith("ce-") && name !== "Content-Type")).toEqual([]);
});

test("what strangers say of types that are none is passed over", () => {
  const message = published({ tenant: "acme", size: "07", huge: "9007199254740993", on: "yes" }, "binary");
  const said = "tenant=integer,size=integer,huge=integer,on=boolean,id=integer,missing=boolean,,=,__proto__=boolean";
  const attributes = mirrored(message, [["Sluice-Types", said]]);
  expect(attributes).toMatchObject({ tenant: "acme", size: "07", huge: "9007199254740993", on: "yes" });
  expect(attributes).not.toHaveProperty("missing");
});

const bytes = (text: string) => new TextEncoder().encode(text);
const cases: [contentType: string | undefined, Data][] = [
  ["text/plain", { data: '""', binary: null }],
  ["text/plain", { data: '"grüße\\n"', binary: null }],
  ["text/xml", { data: '{"a":1}', binary: null }],
  ["application/yaml", { data: '"a: 1"', binary: null }],
  ["application/yaml", { data: "[1]", binary: null }],
  ["text/html; charset=iso-8859-1", { data: '"é"', binary: null }],
  ["text/plain", { data: null, binary: bytes("text") }],
  ["application/json", { data: null, binary: bytes("{}") }],
  [undefined, { data: null, binary: bytes("{}") }],
  [undefined, { data: null, binary: bytes("") }],
  [undefined, { data: null, binary: null }],
  ["text/plain", { data: null, binary: null }],
  ["application/json", { data: "null", binary: null }],
  [undefined, { data: '"text"', binary: null }],
];
for (const mode of ["binary", "structured"] as const)
  test(`data come as they went, in ${mode} mode`, () => {
    for (const [type, data] of cases) {
      const attributes = type === undefined ? {} : { datacontenttype: type };
      const event = read(published(attributes, mode, data));
      const binary = event.binary === null ? null : Uint8Array.from(event.binary);
      expect({ type, data: event.data, binary }).toEqual({ type, ...data });
    }
  });

test("what strangers say of data that it cannot be is passed over", () => {
  const message = published({ datacontenttype: "application/yaml" }, "binary", {
    data: null,
    binary: new Uint8Array([0xff]),
  });
  const headers = message.headers.filter(([name]) => name !== "Sluice-Types");
  for (const said of ["data=json", "data=text", "data=other", "data"])
    expect(read({ ...message, headers }, [["Sluice-Types", said]])).toMatchObject({ data: null, binary: message.data });
});
