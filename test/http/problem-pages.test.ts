// The `type` of a problem leads to a page that explains it.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { catalogue, type ProblemCode } from "../../src/base/errors.ts";
import { problemExamples } from "../../src/http/openapi/problem-examples.ts";
import { guide } from "../../src/http/problem-guide.ts";
import { append, expectProblem, type ProblemBody, send } from "../support/client.ts";
import { type Service, startService } from "../support/service.ts";

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.stop());

const codes = Object.keys(catalogue) as ProblemCode[];

test("the type of a problem that was met leads to its page", async () => {
  const problem = await append<ProblemBody>(service.url, "orders", "{");
  const page = await fetch(new URL(problem.body.type, service.url));
  expect(page.status).toBe(200);
  expect(page.headers.get("content-type")).toBe("text/html; charset=utf-8");
  expect(page.headers.get("content-security-policy")).toContain("default-src 'none'");
  const html = await page.text();
  expect(html).toContain(problem.body.title);
  expect(html).not.toMatch(/<script|<style|\sstyle=/);
});

for (const code of codes) {
  test(`${code} has a page with its status and an example`, async () => {
    const html = await (await fetch(`${service.url}/problems/${code}`)).text();
    expect(html).toContain(`Status ${catalogue[code].status}.`);
    expect(html).toContain(`&#34;type&#34;: &#34;/problems/${code}&#34;`);
  });

  test(`the members that the guide to ${code} names are there`, () => {
    const { value } = problemExamples[code] as { value: Record<string, unknown> };
    for (const [, member] of `${guide[code].meaning} ${guide[code].remedy}`.matchAll(/member (\w+)/g))
      expect(Object.keys(value)).toContain(member as string);
  });
}

test("the list leads to every page", async () => {
  const html = await (await fetch(`${service.url}/problems`)).text();
  const links = [...html.matchAll(/href="\/problems\/([a-z-]+)"/g)].map((match) => match[1]);
  expect(links).toEqual(codes);
});

test("there is no page for what is no problem", async () => {
  for (const code of ["nothing", "constructor", "__proto__"])
    expectProblem(await send(`${service.url}/problems/${code}`), 404, "not-found");
});
