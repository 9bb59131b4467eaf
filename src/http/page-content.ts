// What browsers are served: bytes with a tag, and a policy that keeps everything else out.
import { createHash } from "node:crypto";

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

/** What is served as it is: its bytes and headers, made once. */
export type Content = { body: Uint8Array<ArrayBuffer>; headers: Record<string, string> };

/** Content for browsers, under a policy that lets nothing in from elsewhere. */
export function createContent(bytes: string | Uint8Array, mediaType: string, cacheControl: string): Content {
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
export function answerContent({ body, headers }: Content, request: Request): Response {
  const known = request.headers.get("if-none-match")?.split(",") ?? [];
  const isKnown = known.some((tag) => tag.trim() === "*" || tag.trim().replace(/^W\//, "") === headers.etag);
  return isKnown ? new Response(null, { status: 304, headers }) : new Response(body, { headers });
}
