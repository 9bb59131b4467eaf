// The page of the document needs nothing but the service.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { docsAssets } from "../../src/http/docs.ts";
import { type Service, startService } from "../support/service.ts";

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.stop());

const foreign = /(?:https?:)?\/\/[\w-]+\.[\w.-]+/;

function directives(response: Response): Map<string, string> {
  const policy = response.headers.get("content-security-policy") ?? "";
  return new Map(
    policy.split("; ").map((part) => [part.split(" ", 1)[0] as string, part.slice(part.indexOf(" ") + 1)]),
  );
}

test("the page names files of the service only, and nothing stands inline", async () => {
  const response = await fetch(`${service.url}/docs`);
  expect(response.headers.get("content-type")).toBe("text/html; charset=utf-8");
  const html = await response.text();
  expect(html).not.toMatch(foreign);
  expect(html).not.toMatch(/<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=/);
  const files = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1] as string);
  const assets = Object.keys(docsAssets).map((name) => `/docs/${name}`);
  expect(files.length).toBeGreaterThan(4);
  for (const file of files) expect([...assets, "/openapi.json", "/asyncapi.json"]).toContain(file);
});

test("the page's policy forbids other hosts, inline code and evaluation", async () => {
  const policy = directives(await fetch(`${service.url}/docs`));
  expect(policy.get("default-src")).toBe("'none'");
  for (const [name, sources] of policy) {
    expect({ name, sources }).toEqual({ name, sources: expect.stringMatching(/^'none'$|^'self'( data:)?$/) });
  }
});

for (const [name, { mediaType }] of Object.entries(docsAssets)) {
  test(`${name} is served with its type, its tag and the policy`, async () => {
    const response = await fetch(`${service.url}/docs/${name}`);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe(mediaType);
    expect(response.headers.get("x-content-type-options")).toBe("nosniff");
    expect(response.headers.get("cache-control")).toMatch(/max-age|no-cache/);
    expect(directives(response).get("connect-src")).toBe("'self'");
    expect((await response.bytes()).byteLength).toBeGreaterThan(100);
    const etag = response.headers.get("etag") as string;
    const again = await fetch(`${service.url}/docs/${name}`, { headers: { "if-none-match": etag } });
    expect({ status: again.status, etag: again.headers.get("etag") }).toEqual({ status: 304, etag });
  });
}

test("the page that follows a stream is not served in production", async () => {
  const production = await startService({ NODE_ENV: "production" });
  const statuses = ["follow.html", "follow.js", "page.js"].map(async (name) => {
    return (await fetch(`${production.url}/docs/${name}`)).status;
  });
  expect(await Promise.all(statuses)).toEqual([404, 404, 200]);
  await production.stop();
});

test("styles and the page's own script load nothing from elsewhere", async () => {
  for (const name of ["swagger-ui.css", "page.css", "text.css", "follow.css"]) {
    const text = await (await fetch(`${service.url}/docs/${name}`)).text();
    expect(text).not.toMatch(/@import/);
    for (const [, target] of text.matchAll(/url\(["']?([^)"']*)/g)) expect(target).toStartWith("data:");
  }
  const script = await (await fetch(`${service.url}/docs/page.js`)).text();
  expect(script).not.toMatch(foreign);
  expect(script).toContain("validatorUrl: null");
});

test("only the named files are served", async () => {
  const names = ["package.json", "index.html", "..%2fpackage.json", "%2e%2e%2f..%2f..%2fpackage.json", "constructor"];
  for (const name of [...names, "swagger-ui-bundle.js.map", "swagger-ui-bundle.js%00"]) {
    const response = await fetch(`${service.url}/docs/${name}`);
    expect({ name, status: response.status }).toEqual({ name, status: 404 });
    expect(((await response.json()) as { type: string }).type).toBe("/problems/not-found");
  }
});
