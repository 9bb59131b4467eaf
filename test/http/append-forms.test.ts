// The forms in which events are appended, and what is given back of them.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { append, type Envelope, readAll, readLines } from "../support/client.ts";
import { type Service, startService } from "../support/service.ts";

let service: Service;
beforeAll(async () => {
  service = await startService({ SERVICE_NAME: "shop" });
});
afterAll(() => service.stop());

let streams = 0;

/** Appends to a new stream and reads back what it holds. */
async function roundTrip(body: unknown, headers: Record<string, string> = {}): Promise<Envelope[]> {
  const stream = `forms-${++streams}`;
  const answer = await append(service.url, stream, body, headers);
  expect([answer.status, answer.text]).toEqual([201, answer.text]);
  return readAll(service.url, stream);
}

/** The raw text of `data` as it stands in the stored envelope, which ends with it. */
async function storedData(body: string, headers: Record<string, string> = {}): Promise<string> {
  const stream = `forms-${++streams}`;
  expect((await append(service.url, stream, body, headers)).status).toBe(201);
  const lines = await readLines(service.url, stream);
  expect(lines).toHaveLength(1);
  const line = lines[0] as string;
  return line.slice(line.indexOf(',"data":') + 8, -1);
}

const cloudEvent = { specversion: "1.0", id: "e-1", source: "/till/7", type: "Sold" };
const binary = { "ce-specversion": "1.0", "ce-id": "e-1", "ce-source": "/till/7", "ce-type": "Sold" };

test("an event with a type alone gets every default", async () => {
  const [event] = await roundTrip({ type: "Sold" });
  expect(event).toEqual({
    specversion: "1.0",
    id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/),
    source: `/shop/streams/forms-${streams}`,
    type: "Sold",
    time: event?.recordedtime,
    stream: `forms-${streams}`,
    offset: "0",
    position: expect.stringMatching(/^\d+$/),
    recordedtime: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    schemaversion: "1",
  });
});

test("a structured event and a batch are taken as CloudEvents", async () => {
  const structured = await roundTrip(
    { ...cloudEvent, data: { total: 5 } },
    { "content-type": "application/cloudevents+json" },
  );
  expect(structured).toEqual([expect.objectContaining({ ...cloudEvent, data: { total: 5 } })]);
  const batch = await roundTrip([cloudEvent, { ...cloudEvent, id: "e-2" }], {
    "content-type": "application/cloudevents-batch+json; charset=utf-8",
  });
  expect(batch.map((event) => event.id)).toEqual(["e-1", "e-2"]);
});

test("media types are told apart without regard to case and parameters", async () => {
  expect(await roundTrip({ type: "A" }, { "content-type": "Application/JSON ; charset=UTF-8" })).toHaveLength(1);
});

test("an array keeps its order, and a thousand events are taken", async () => {
  const events = await roundTrip(Array.from({ length: 1_000 }, (_, i) => ({ type: "Counted", data: i })));
  expect(events.map((event) => event.data)).toEqual(Array.from({ length: 1_000 }, (_, i) => i));
  expect(events.map((event) => event.offset)).toEqual(Array.from({ length: 1_000 }, (_, i) => String(i)));
});

test("a byte order mark before the body is passed over", async () => {
  expect(await roundTrip(new TextEncoder().encode('\ufeff{"type":"A"}'))).toHaveLength(1);
});

describe("in the binary mode", () => {
  test("JSON is data, as it came", async () => {
    const [event] = await roundTrip('{"total": 5}', { ...binary, "content-type": "application/json" });
    expect(event).toMatchObject({ ...cloudEvent, datacontenttype: "application/json", data: { total: 5 } });
    const suffixed = await roundTrip("[1]", { ...binary, "content-type": "application/vnd.shop+json; v=1" });
    expect(suffixed[0]).toMatchObject({ datacontenttype: "application/vnd.shop+json; v=1", data: [1] });
  });

  test("text and images are data_base64 with their content type, to the byte", async () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    for (const [contentType, body] of [
      ["text/plain; charset=utf-8", new TextEncoder().encode('h\u00e9llo\n"w\u00f6rld"')],
      ["image/png", bytes],
    ] as const) {
      const [event] = await roundTrip(body, { ...binary, "content-type": contentType });
      expect(event).toMatchObject({ ...cloudEvent, datacontenttype: contentType });
      expect(event).not.toHaveProperty("data");
      expect(Buffer.from(event?.data_base64 as string, "base64")).toEqual(Buffer.from(body));
    }
  });

  test("a body without a content type is JSON", async () => {
    const stream = `forms-${++streams}`;
    const response = await fetch(`${service.url}/api/streams/${stream}/events`, {
      method: "POST",
      headers: binary,
      body: new TextEncoder().encode("[1, 2]"),
    });
    expect(response.status).toBe(201);
    expect((await readAll(service.url, stream))[0]).toMatchObject({
      datacontenttype: "application/json",
      data: [1, 2],
    });
  });

  test("an empty body is an event without data", async () => {
    const [event] = await roundTrip("", binary);
    expect(event).not.toHaveProperty("data");
    expect(event).not.toHaveProperty("data_base64");
  });

  test("header values are percent-decoded, and quotes around them taken off", async () => {
    const [event] = await roundTrip("", {
      ...binary,
      "ce-subject": "caf%C3%A9 %F0%9F%8E%89 100%25",
      "ce-quoted": '"a \\"b\\" c"',
      "ce-odd": "100% %zz",
      "ce-traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    });
    expect(event).toMatchObject({
      subject: "caf\u00e9 \u{1f389} 100%",
      quoted: 'a "b" c',
      odd: "100% %zz",
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    });
  });
});

test("attributes that are null are not set", async () => {
  const [event] = await roundTrip({
    type: "A",
    subject: null,
    time: null,
    id: null,
    extension: null,
    schemaversion: null,
  });
  for (const name of ["subject", "extension", "datacontenttype"]) expect(event).not.toHaveProperty(name);
  expect(event?.schemaversion).toBe("1");
  expect(event?.time).toBe(event?.recordedtime);
});

test("extension attributes keep their types", async () => {
  const extensions = { flag: true, off: false, number: -2147483648, zero: 0, text: "1", empty: "", a1: 2147483647 };
  expect((await roundTrip({ type: "A", ...extensions }))[0]).toMatchObject(extensions);
});

test("attributes of every kind come back as they were given", async () => {
  const given = {
    ...cloudEvent,
    time: "2026-11-21T10:00:00.123456789+05:30",
    datacontenttype: "application/vnd.shop+json",
    dataschema: "https://example.com/schema",
    subject: 'quote " backslash \\ slash / \u{1f389} "time":',
    schemaversion: "7",
    correlationid: "c-1",
    causationid: "x-1",
    partitionkey: "p 1",
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    data: { total: 1 },
  };
  expect((await roundTrip(given))[0]).toMatchObject(given);
});

test("a time stands as it was given, in every form of RFC 3339", async () => {
  for (const time of ["2026-11-21T10:00:00Z", "2026-11-21t10:00:00.5z", "1969-12-31T23:59:60-12:00"]) {
    const [event] = await roundTrip({ type: "A", time });
    expect(event?.time).toBe(time);
    expect(event?.recordedtime).not.toBe(time);
  }
});

test("a schema version is a number or its text", async () => {
  const events = await roundTrip([
    { type: "A", schemaversion: 2 },
    { type: "A", schemaversion: "3" },
    { type: "A", schemaversion: 999999999 },
  ]);
  expect(events.map((event) => event.schemaversion)).toEqual(["2", "3", "999999999"]);
});

test("data that is null is data, and absent data is none", async () => {
  const events = await roundTrip([{ type: "A", data: null }, { type: "A" }, { type: "A", data_base64: "" }]);
  expect(events[0]).toMatchObject({ data: null, datacontenttype: "application/json" });
  expect(events[1]).not.toHaveProperty("data");
  expect(events[1]).not.toHaveProperty("data_base64");
  expect(events[2]).toMatchObject({ data_base64: "" });
});

describe("data is kept to the byte:", () => {
  const texts = [
    "12345678901234567890123456789",
    "1.0",
    "1.50e+02",
    "-0.0",
    '{"z":1,"a":2,"z":3}',
    '{"a" : [ 1 ,2 ], "b":\t{ } }',
    '"\\u0041\\/\\ud83c\\udf89\\n"',
    '"\u2028\u2029 caf\u00e9 \u{1f389}"',
    '{"":0,"__proto__":{"data":1},"data":[{"data":2}]}',
    "false",
    '""',
    '"\\u001e\\u001f"',
  ];
  for (const text of texts) {
    test(text, async () => {
      expect(await storedData(`{"type":"A","data":${text}}`)).toBe(text);
      expect(await storedData(`[{ "data" : ${text} , "type":"A"}]`)).toBe(text);
      expect(await storedData(text, { ...binary, "content-type": "application/json" })).toBe(text);
    });
  }

  test("the last of several members named data, and one whose name is escaped", async () => {
    expect(await storedData('{"data":1,"type":"A","d\\u0061ta": {"x":1.0} }')).toBe('{"x":1.0}');
  });
});

test("the envelope of a pretty-printed body stands on one line", async () => {
  const data = { text: "a\r\nb", list: [1, { deep: "  \n" }] };
  const pretty = JSON.stringify({ type: "A", data }, null, 4);
  for (const body of [pretty, pretty.replaceAll("\n", "\r\n"), pretty.replaceAll("\n", "\r")]) {
    const stored = await storedData(body);
    expect(stored).not.toMatch(/[\r\n]/);
    expect(JSON.parse(stored)).toEqual(data);
  }
  const stored = await storedData(JSON.stringify(data, null, 2), { ...binary, "content-type": "application/json" });
  expect(JSON.parse(stored)).toEqual(data);
});

test("what was read can be appended elsewhere, without the service's attributes, and reads the same", async () => {
  const [event] = await roundTrip({
    ...cloudEvent,
    subject: "s",
    extra: 1,
    data: { b: 1, a: [1.5] },
    schemaversion: 2,
  });
  const { stream: _, offset: __, position: ___, recordedtime: ____, ...portable } = event as Envelope;
  const [copy] = await roundTrip(portable, { "content-type": "application/cloudevents+json" });
  expect(copy).toMatchObject(portable);
});
