// Expected versions: If-Match, If-None-Match, and many writers who expect the same.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { append, expectProblem, readAll, send } from "../support/client.ts";
import { type Service, startService } from "../support/service.ts";

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.stop());

const one = { type: "Placed", data: 1 };

test("of sixty concurrent appends at one expected version exactly one wins, the others learn the actual one", async () => {
  await append(service.url, "race", [one, one, one]);
  const answers = await Promise.all(
    Array.from({ length: 60 }, (_, i) =>
      append(service.url, "race", { type: "Raced", data: i }, { "if-match": '"2"' }),
    ),
  );
  expect(answers.filter((answer) => answer.status === 201)).toHaveLength(1);
  for (const answer of answers.filter((a) => a.status !== 201)) {
    expect(expectProblem(answer, 412, "wrong-expected-version")).toMatchObject({
      stream: "race",
      expected: "2",
      actual: "3",
      retryable: false,
    });
  }
  expect(await readAll(service.url, "race")).toHaveLength(4);
});

test("of sixty concurrent appends that expect an empty stream exactly one wins", async () => {
  const answers = await Promise.all(
    Array.from({ length: 60 }, () => append(service.url, "first", one, { "if-none-match": "*" })),
  );
  expect(answers.map((answer) => answer.status).sort()).toEqual([201, ...Array<number>(59).fill(412)]);
  expect(await readAll(service.url, "first")).toHaveLength(1);
});

test("the ETag of an answer is the expected version of the next append", async () => {
  let etag = (await append(service.url, "chain", [one, one])).headers.get("etag");
  expect(etag).toBe('"1"');
  for (const next of ['"2"', '"3"']) {
    const answer = await append(service.url, "chain", one, { "if-match": etag as string });
    expect(answer.status).toBe(201);
    etag = answer.headers.get("etag");
    expect(etag).toBe(next);
  }
  const description = await send(`${service.url}/api/streams/chain`);
  expect(description.headers.get("etag")).toBe(etag);
});

describe("on a stream at version 1", () => {
  beforeAll(async () => {
    await append(service.url, "two", [one, one]);
  });

  const refused: [header: string, value: string, expected: string][] = [
    ["if-match", '"0"', "0"],
    ["if-match", '"2"', "2"],
    ["if-match", 'W/"0"', "0"],
    ["if-match", '"-1"', "-1"],
    ["if-match", '"9007199254740991"', "9007199254740991"],
    ["if-none-match", "*", "-1"],
  ];
  for (const [header, value, expected] of refused) {
    test(`${header}: ${value} is refused, with both versions`, async () => {
      const answer = await append(service.url, "two", one, { [header]: value });
      const problem = expectProblem(answer, 412, "wrong-expected-version");
      expect(problem).toMatchObject({ expected, actual: "1" });
    });
  }

  const accepted: [header: string, value: string][] = [
    ["if-match", '"N"'],
    ["if-match", 'W/"N"'],
    ["if-match", ' "N" '],
    ["if-match", "*"],
  ];
  for (const [header, value] of accepted) {
    test(`${header}: ${value} (N its version) is accepted`, async () => {
      const { headers } = await send(`${service.url}/api/streams/two`);
      const version = (headers.get("etag") as string).slice(1, -1);
      const answer = await append(service.url, "two", one, { [header]: value.replace("N", version) });
      expect(answer.status).toBe(201);
      expect(answer.body.firstOffset).toBe(String(Number(version) + 1));
    });
  }

  const malformed: Record<string, string>[] = [
    { "if-match": "1" },
    { "if-match": '"one"' },
    { "if-match": '"1", "2"' },
    { "if-match": '"1' },
    { "if-match": "" },
    { "if-match": '""' },
    { "if-match": '"-2"' },
    { "if-match": '"1.0"' },
    { "if-match": 'w/"1"' },
    { "if-match": '"99999999999999999999"' },
    { "if-none-match": '"1"' },
    { "if-none-match": "garbage" },
    { "if-match": "*", "if-none-match": "*" },
  ];
  for (const headers of malformed) {
    test(`${JSON.stringify(headers)} is a bad request that stores nothing`, async () => {
      const before = (await readAll(service.url, "two")).length;
      const problem = expectProblem(await append(service.url, "two", one, headers), 400, "invalid-parameter");
      expect(problem.parameter).toMatch(/^If-(None-)?Match$/);
      expect(await readAll(service.url, "two")).toHaveLength(before);
    });
  }
});

test("on a name without a stream, If-Match * and a number are refused, and -1 is accepted", async () => {
  for (const value of ["*", '"0"']) {
    const problem = expectProblem(
      await append(service.url, "unborn", one, { "if-match": value }),
      412,
      "wrong-expected-version",
    );
    expect(problem).toMatchObject({ expected: value.replaceAll('"', ""), actual: "-1" });
  }
  expect((await append(service.url, "unborn", one, { "if-match": '"-1"' })).status).toBe(201);
});

test("a refused array stores none of its events", async () => {
  await append(service.url, "whole", one);
  expectProblem(
    await append(service.url, "whole", [one, one, one], { "if-match": '"7"' }),
    412,
    "wrong-expected-version",
  );
  expect(await readAll(service.url, "whole")).toHaveLength(1);
});

test("an append refused on a new name leaves no stream", async () => {
  expectProblem(await append(service.url, "ghost", one, { "if-match": '"3"' }), 412, "wrong-expected-version");
  expectProblem(await send(`${service.url}/api/streams/ghost`), 404, "stream-not-found");
  expectProblem(await send(`${service.url}/api/streams/ghost/events`), 404, "stream-not-found");
  const list = await send<{ streams: unknown[] }>(`${service.url}/api/streams?prefix=ghost`);
  expect(list.body.streams).toEqual([]);
  const born = await append(service.url, "ghost", one, { "if-none-match": "*" });
  expect(born.body.firstOffset).toBe("0");
});

test("the version of a deleted stream still counts for its name: nothing is judged as never appended", async () => {
  await append(service.url, "again", [one, one]);
  await fetch(`${service.url}/api/streams/again`, { method: "DELETE" });
  const refused = await append(service.url, "again", one, { "if-none-match": "*" });
  expect(expectProblem(refused, 412, "wrong-expected-version").actual).toBe("1");
  expect((await append(service.url, "again", one, { "if-match": '"1"' })).status).toBe(201);
});

test("the ETag of an emptied stream that exists again is the version that an append must expect", async () => {
  await append(service.url, "emptied", [one, one]);
  await fetch(`${service.url}/api/streams/emptied`, { method: "DELETE" });
  await fetch(`${service.url}/api/streams/emptied`, { method: "PUT" });
  const { headers } = await send(`${service.url}/api/streams/emptied`);
  const answer = await append(service.url, "emptied", one, { "if-match": headers.get("etag") as string });
  expect(answer.status).toBe(201);
  expect(answer.body.firstOffset).toBe("2");
});
