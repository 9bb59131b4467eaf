// The payload of a message: what of it is JSON, what is text, what are bytes.
import { invalidEvent, malformedBody } from "../../../base/errors.ts";
import { JsonWalk } from "../../../stream/json-text.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true });
/** Keeps a byte order mark, which is part of a text. */
const wholeUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function readJson(data: Uint8Array): string {
  const text = textOf(data).trim();
  parseJson(text);
  return checked(text);
}

/** The text where the bytes are JSON; null where they are anything else. */
export function jsonOrNull(data: Uint8Array): string | null {
  let text: string;
  try {
    text = utf8.decode(data).trim();
    JSON.parse(text);
  } catch {
    return null;
  }
  return checked(text);
}

function checked(text: string): string {
  const walk = new JsonWalk(text);
  walk.value();
  if (walk.refusal !== null) throw invalidEvent([{ path: "/data", message: walk.refusal }]);
  return onOneLine(text);
}

/** Line breaks stand between tokens only: a string of JSON cannot hold a raw one. */
export function onOneLine(text: string): string {
  return text.includes("\n") || text.includes("\r") ? text.replace(/[\r\n]+\s*/g, " ") : text;
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw malformedBody(`The message is not JSON: ${error instanceof Error ? error.message : "it cannot be parsed"}`);
  }
}

export function textOf(data: Uint8Array): string {
  try {
    return utf8.decode(data);
  } catch {
    throw malformedBody("The message is not UTF-8");
  }
}

/** What is a string in the JSON format (section 3.1.1): media types of text, in the one encoding that is read. */
export function isText(contentType: string): boolean {
  const [type = "", ...parameters] = contentType.split(";").map((part) => part.trim().toLowerCase());
  const charset = parameters.find((parameter) => parameter.startsWith("charset="))?.slice("charset=".length);
  return (
    /^(text\/.*|application\/xml|.*\+xml)$/.test(type) &&
    (charset === undefined || /^"?(utf-8|us-ascii)"?$/.test(charset))
  );
}

/** Null where it is not UTF-8, or has a character that the log does not take. */
export function textOrNull(data: Uint8Array): string | null {
  try {
    const text = wholeUtf8.decode(data);
    return text.includes("\u0000") ? null : text;
  } catch {
    return null;
  }
}
