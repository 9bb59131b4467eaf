// Attributes that are integers or booleans: what a mirror has of them is what the first service had.
import { expect, test } from "bun:test";
import { readMessage } from "../../../src/delivery/bridge/inbound/message.ts";
import { type Message, type Mode, messageOf } from "../../../src/delivery/bridge/outbound/message.ts";
import type { StoredEvent } from "../../../src/stream/event.ts";

const logId = "0b6f3f52-1b6f-4c06-9a53-6f6d0b2f7a01";

function published(attributes: Record<string, unknown>, mode: Mode): Message {
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
    data: "{}",
    binary: null,
    line: null,
    lineRevision: 0,
    shown: null,
  };
  return messageOf(event, mode, logId, { revision: () => 0, linkOf: () => null });
}

function mirrored({ headers, data }: Message, more: Message["headers"] = []): Record<string, unknown> {
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
  return JSON.parse(event.attributes);
}

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
