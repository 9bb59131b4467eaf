// /problems and /problems/{code}: what the `type` of a problem leads to.
import { catalogue, Problem, type ProblemCode } from "../base/errors.ts";
import type { Handler } from "./context.ts";
import { problemExamples } from "./openapi/problem-examples.ts";
import { answerContent, type Content, createContent } from "./page-content.ts";
import { guide } from "./problem-guide.ts";

export type ProblemPageHandlers = { index: Handler; page: Handler };

const codes = Object.keys(catalogue) as ProblemCode[];

function escapeHtml(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

function html(title: string, body: string): Content {
  const document = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)} · Sluice</title>
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/text.css">
</head>
<body>
${body}
</body>
</html>
`;
  return createContent(document, "text/html; charset=utf-8", "no-cache");
}

function page(code: ProblemCode): Content {
  const { status, title, retryable } = catalogue[code];
  const { meaning, remedy } = guide[code];
  const example = problemExamples[code] as { value: unknown };
  return html(
    title,
    `<p><a href="/problems">Problems</a> / <code>${code}</code></p>
<h1>${escapeHtml(title)}</h1>
<p>Status ${status}. ${retryable ? "The same request may succeed later." : "The same request fails again."}</p>
<p>${escapeHtml(meaning)}</p>
<h2>What helps</h2>
<p>${escapeHtml(remedy)}</p>
<h2>An example</h2>
<pre>${escapeHtml(JSON.stringify(example.value, null, 2))}</pre>`,
  );
}

function index(): Content {
  const rows = codes.map((code) => {
    const { status, title } = catalogue[code];
    return `<tr><td>${status}</td><td><a href="/problems/${code}"><code>${code}</code></a></td><td>${escapeHtml(title)}</td></tr>`;
  });
  return html(
    "Problems",
    `<h1>Problems</h1>
<p>Every error is <code>application/problem+json</code> (RFC 9457); its <code>type</code> is one of these.</p>
<table>
<tr><th>Status</th><th>Type</th><th></th></tr>
${rows.join("\n")}
</table>`,
  );
}

export function problemPageHandlers(): ProblemPageHandlers {
  const made = new Map<string, Content>(codes.map((code) => [code, page(code)]));
  const list = index();
  return {
    index: ({ request }) => answerContent(list, request),
    page({ request, params }) {
      const found = made.get(params.code ?? "");
      if (found === undefined) throw new Problem("not-found", "There is no such problem; /problems lists them");
      return answerContent(found, request);
    },
  };
}
