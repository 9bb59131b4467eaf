// /openapi.json and /docs: the document, and a page for it whose files all come from this service.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { Problem } from "../base/errors.ts";
import type { Handler } from "./context.ts";

const script = `SwaggerUIBundle({
  url: "/openapi.json",
  domNode: document.getElementById("docs"),
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  // Would send the document's address to another host.
  validatorUrl: null,
});
`;

const style = `html { box-sizing: border-box; }
*, *::before, *::after { box-sizing: inherit; }
body { margin: 0; background: #fafafa; }
`;

const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sluice API</title>
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="stylesheet" href="/docs/page.css">
</head>
<body>
<noscript>This page needs JavaScript; the document itself is at <a href="/openapi.json">/openapi.json</a>.</noscript>
<div id="docs"></div>
<script src="/docs/swagger-ui-bundle.js" defer></script>
<script src="/docs/page.js" defer></script>
</body>
</html>
`;

type Asset = { mediaType: string; text?: string };

/** The files of the page; those without a text stand in the package swagger-ui-dist. */
export const docsAssets: Record<string, Asset> = {
  "swagger-ui-bundle.js": { mediaType: "text/javascript; charset=utf-8" },
  "swagger-ui.css": { mediaType: "text/css; charset=utf-8" },
  "favicon-32x32.png": { mediaType: "image/png" },
  "page.js": { mediaType: "text/javascript; charset=utf-8", text: script },
  "page.css": { mediaType: "text/css; charset=utf-8", text: style },
};

// No inline script or style, nothing evaluated, nothing from or to another host.
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "font-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

const hourSeconds = 3_600;

type Content = { body: Uint8Array<ArrayBuffer>; headers: Record<string, string> };

function content(bytes: string | Uint8Array, mediaType: string, cacheControl: string): Content {
  const body = new Uint8Array(Buffer.from(bytes));
  const etag = `"${createHash("sha256").update(body).digest("base64url").slice(0, 27)}"`;
  return {
    body,
    headers: {
      "content-type": mediaType,
      "cache-control": cacheControl,
      etag,
      "content-security-policy": policy,
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
    },
  };
}

/** The content, or 304 when the client has it (RFC 9110, section 13.1.2). */
function answer({ body, headers }: Content, request: Request): Response {
  const known = request.headers.get("if-none-match")?.split(",") ?? [];
  const isKnown = known.some((tag) => tag.trim() === "*" || tag.trim().replace(/^W\//, "") === headers.etag);
  return isKnown ? new Response(null, { status: 304, headers }) : new Response(body, { headers });
}

// The way to a package's files that every runtime goes alike.
const require = createRequire(import.meta.url);

async function load(name: string, { mediaType, text }: Asset): Promise<Content> {
  const bytes = text ?? (await readFile(join(dirname(require.resolve("swagger-ui-dist/package.json")), name)));
  return content(bytes, mediaType, `public, max-age=${hourSeconds}`);
}

export type DocsHandlers = { document: Handler; page: Handler; asset: Handler };

/** `document` returns the text of the OpenAPI document; it is called at the first request for it. */
export function docsHandlers(document: () => string): DocsHandlers {
  let described: Content | null = null;
  const html = content(page, "text/html; charset=utf-8", "no-cache");
  const loaded = new Map<string, Promise<Content>>();
  return {
    document({ request }) {
      described ??= content(document(), "application/json", "no-cache");
      return answer(described, request);
    },
    page: ({ request }) => answer(html, request),
    async asset({ request, params }) {
      const name = params.asset ?? "";
      const asset = Object.hasOwn(docsAssets, name) ? docsAssets[name] : undefined;
      if (asset === undefined) throw new Problem("not-found", "The page has no such file");
      let reading = loaded.get(name);
      if (reading === undefined) {
        reading = load(name, asset);
        loaded.set(name, reading);
        reading.catch(() => loaded.delete(name));
      }
      return answer(await reading, request);
    },
  };
}
