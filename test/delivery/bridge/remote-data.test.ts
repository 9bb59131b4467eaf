// What the data of a message becomes in the event, by its media type: JSON, text, or bytes.
import { expect, test } from "bun:test";
import { readMessage } from "../../../src/delivery/bridge/inbound/message.ts";

const context = {
  stream: "texts",
  service: "svcb",
  logId: "0b6f3f52-1b6f-4c06-9a53-6f6d0b2f7a01",
  maxEventBytes: 1_000_000,
  source: { service: "svca", stream: "texts" },
};

function read(contentType: string, data: Uint8Array | string, more: [string, string][] = []) {
  const { event } = readMessage(
    {
      ...{ jetstream: "svca_texts", sequence: 1, storedMs: 1_700_000_000_000, subject: "svca.texts.Said" },
      headers: [
        ["ce-specversion", "1.0"],
        ["ce-id", "t-1"],
        ["ce-type", "Said"],
        ["ce-source", "/s"],
        ["Content-Type", contentType],
        ...more,
      ],
      data: typeof data === "string" ? new TextEncoder().encode(data) : data,
    },
    context,
  );
  if (event instanceof Error) throw event;
  return { data: event.data, bytes: event.binary, type: JSON.parse(event.attributes).datacontenttype };
}

test("text that is UTF-8 becomes a string of JSON, as the JSON format of CloudEvents has it", () => {
  for (const type of [
    "text/plain",
    "TEXT/HTML; charset=UTF-8",
    'text/csv;charset="us-ascii"',
    "application/xml",
    "image/svg+xml",
    "application/xhtml+xml ; q=1",
  ])
    expect(read(type, '<a>"é"\r\n\t\u2028</a>')).toEqual({
      data: JSON.stringify('<a>"é"\r\n\t\u2028</a>'),
      bytes: null,
      type,
    });
  expect(read("text/plain", "\ufeffwith a mark").data).toBe('"\ufeffwith a mark"');
  expect(read("application/json", '"x"', [["ce-datacontenttype", "text/plain"]]).data).toBe('"\\"x\\""');
});

test("what is no text, or cannot be one in JSON here, stays bytes", () => {
  const cases: [string, Uint8Array][] = [
    ["text/plain", new Uint8Array([0x61, 0xff])],
    ["text/plain", new Uint8Array([0x61, 0x00])],
    ["text/plain; charset=iso-8859-1", new Uint8Array([0xc3, 0xa9])],
    ["image/png", new Uint8Array([0x61])],
    ["application/xml-dtd", new Uint8Array([0x61])],
    ["application/octet-stream; of=text/plain", new Uint8Array([0x61])],
  ];
  for (const [type, data] of cases) {
    const found = read(type, data);
    expect({ type, data: found.data, bytes: [...(found.bytes ?? [])] }).toEqual({ type, data: null, bytes: [...data] });
  }
  expect(read("text/plain", "")).toMatchObject({ data: null, bytes: null });
});

test("an event whose producer says no time happened when JetStream stored it, and is the same when it is stored again", () => {
  const binary: [string, string][] = [
    ["ce-specversion", "1.0"],
    ["ce-id", "t-1"],
    ["ce-type", "Said"],
    ["ce-source", "/s"],
  ];
  for (const headers of [binary, [["Nats-Msg-Id", "t-1"]] as [string, string][]]) {
    const at = (storedMs: number) => {
      const message = { jetstream: "j", sequence: 1, storedMs, subject: "a.Said", headers, data: new Uint8Array() };
      const { event } = readMessage(message, { ...context, source: { subject: "a.*" } });
      if (event instanceof Error) throw event;
      return event;
    };
    const [first, again] = [at(1_700_000_000_000), at(1_700_000_999_000)];
    expect(JSON.parse(first.attributes).time).toBe("2023-11-14T22:13:20.000Z");
    expect([first.id, first.hash]).toEqual([again.id, again.hash]);
    expect(first.bytes).toBe(again.bytes);
  }
});

test("a message without an id has one of its place, however long the name of its stream", () => {
  const idOf = (jetstream: string, sequence: number) => {
    const at = { sequence, storedMs: 1_700_000_000_000, subject: "a.Said", headers: [], data: new Uint8Array() };
    const { event } = readMessage({ jetstream, ...at }, { ...context, source: { subject: "a.*" } });
    if (event instanceof Error) throw event;
    return event.id;
  };
  expect(idOf("j", 7)).toBe("j:7:1700000000000");
  const long = "j".repeat(255);
  expect(new Set([idOf(long, 7), idOf(long, 7), idOf(long, 8), idOf(`k${long.slice(1)}`, 7)]).size).toBe(3);
});
