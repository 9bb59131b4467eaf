// /openapi.json, /asyncapi.json and /docs: the documents, and a page whose files all come from this service.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { Problem } from "../base/errors.ts";
import type { Handler } from "./context.ts";
import { answerContent, type Content, createContent } from "./page-content.ts";

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
<noscript>This page needs JavaScript; the documents themselves are at <a href="/openapi.json">/openapi.json</a> and <a href="/asyncapi.json">/asyncapi.json</a>.</noscript>
<div id="docs"></div>
<script src="/docs/swagger-ui-bundle.js" defer></script>
<script src="/docs/page.js" defer></script>
</body>
</html>
`;

type Asset = {
  mediaType: string;
  text?: string;
  /** A page to try things with, which stands in the folder docs: not served in production. */
  development?: true;
};

const textStyle = `:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 46rem; margin: 3rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; }
pre { padding: 1rem; overflow-x: auto; border: 1px solid #8886; border-radius: 6px; font-size: 0.85rem; }
td, th { padding: 0.3rem 1.2rem 0.3rem 0; text-align: left; vertical-align: top; }
a { color: #2f6feb; }
`;

/** The files of the pages; those without a text stand in the package swagger-ui-dist, or in the folder docs. */
export const docsAssets: Record<string, Asset> = {
  "swagger-ui-bundle.js": { mediaType: "text/javascript; charset=utf-8" },
  "swagger-ui.css": { mediaType: "text/css; charset=utf-8" },
  "favicon-32x32.png": { mediaType: "image/png" },
  "page.js": { mediaType: "text/javascript; charset=utf-8", text: script },
  "page.css": { mediaType: "text/css; charset=utf-8", text: style },
  "text.css": { mediaType: "text/css; charset=utf-8", text: textStyle },
  "follow.html": { mediaType: "text/html; charset=utf-8", development: true },
  "follow.js": { mediaType: "text/javascript; charset=utf-8", development: true },
  "follow.css": { mediaType: "text/css; charset=utf-8", development: true },
};

const hourSeconds = 3_600;

// The way to a package's files that every runtime goes alike.
const require = createRequire(import.meta.url);

async function load(name: string, { mediaType, text, development }: Asset): Promise<Content> {
  if (development) {
    const bytes = await readFile(new URL(`../../docs/${name}`, import.meta.url));
    return createContent(bytes, mediaType, "no-cache");
  }
  const bytes = text ?? (await readFile(join(dirname(require.resolve("swagger-ui-dist/package.json")), name)));
  return createContent(bytes, mediaType, `public, max-age=${hourSeconds}`);
}

/** A document as it is at the moment: `text` makes it, where the last one that was made is of another revision. */
export type DocumentSource = () => Promise<{ revision: string; text: () => Promise<string> }>;

function documentHandler(source: DocumentSource): Handler {
  let made: { content: Promise<Content>; revision: string } | null = null;
  return async ({ request }) => {
    const { revision, text } = await source();
    if (made?.revision !== revision) {
      const content = text().then((written) => createContent(written, "application/json", "no-cache"));
      made = { content, revision };
      content.catch(() => {
        made = null;
      });
    }
    return answerContent(await made.content, request);
  };
}

export type DocsHandlers = { openApi: Handler; asyncApi: Handler; page: Handler; asset: Handler };

export function docsHandlers(openApi: DocumentSource, asyncApi: DocumentSource, development: boolean): DocsHandlers {
  const html = createContent(page, "text/html; charset=utf-8", "no-cache");
  const loaded = new Map<string, Promise<Content>>();
  return {
    openApi: documentHandler(openApi),
    asyncApi: documentHandler(asyncApi),
    page: ({ request }) => answerContent(html, request),
    async asset({ request, params }) {
      const name = params.asset ?? "";
      const asset = Object.hasOwn(docsAssets, name) ? docsAssets[name] : undefined;
      if (asset === undefined || (asset.development && !development))
        throw new Problem("not-found", "The page has no such file");
      let reading = loaded.get(name);
      if (reading === undefined) {
        reading = load(name, asset);
        loaded.set(name, reading);
        reading.catch(() => loaded.delete(name));
      }
      return answerContent(await reading, request);
    },
  };
}
