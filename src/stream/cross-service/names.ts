// How a stream is named in NATS: the JetStream stream, and the subjects of its events. Every process comes to the same names.
import { createHash } from "node:crypto";

/** Patterns with `{service}` and `{stream}`; that of subjects may end with the token `{type}`. */
export type Naming = { service: string; streamPattern: string; subjectPattern: string };

/** The names of one stream; `subject` may end with the token `{type}` still. */
export type NatsNames = { stream: string; subject: string };

const defaultPatterns = { streamPattern: "{service}_{stream}", subjectPattern: "{service}.{stream}.{type}" };
export const defaultNaming = (service: string): Naming => ({ service, ...defaultPatterns });

/** nats-server refuses longer names of streams. */
const maxNameLength = 255;
const keptLength = 238;

const token = "(?:[A-Za-z0-9_:-]|\\{service\\}|\\{stream\\})+";
const streamPattern = new RegExp(`^${token}$`);
const subjectPattern = new RegExp(`^${token}(?:\\.${token})*(?:\\.\\{type\\})?$`);
const maxPatternLength = 400;
/** With the type of an event and the subject of the answer it has to fit the line of 4 KB that nats-server reads. */
export const maxSubjectLength = 1_000;

export const streamPatternMeaning =
  "letters, digits, - _ : with {service} and {stream}, at most 400, such as {service}_{stream}";
export const subjectPatternMeaning =
  "tokens of letters, digits, - _ : {service} and {stream} joined by dots, at most 400, of which the last may be {type}, such as {service}.{stream}.{type}";

export const isStreamPattern = (text: string) => text.length <= maxPatternLength && streamPattern.test(text);
export const isSubjectPattern = (text: string) => text.length <= maxPatternLength && subjectPattern.test(text);

/**
 * What NATS refuses in a name of a stream or a token of a subject becomes `_`: white space, control characters, and `. * > / \`.
 * A lone surrogate has no form in UTF-8.
 */
export function sanitise(name: string): string {
  return name.replace(/[\s\p{Cc}\p{Cs}.*>/\\]/gu, "_");
}

/** The names of a stream, by the service's patterns or its own. */
export function namesOf(
  stream: string,
  { service, streamPattern, subjectPattern }: Naming,
  own: { stream: string | null; subject: string | null } = { stream: null, subject: null },
): NatsNames {
  const names = { "{service}": sanitise(service), "{stream}": sanitise(stream) };
  // By a function: in a text, $& and its like would stand for the pattern.
  const fill = (pattern: string) =>
    pattern.replace(/\{service\}|\{stream\}/g, (place) => names[place as keyof typeof names]);
  return { stream: shortened(fill(own.stream ?? streamPattern)), subject: fill(own.subject ?? subjectPattern) };
}

/** Where the events of a type go. */
export function subjectOf(subject: string, type: string): string {
  return subject.endsWith(typeToken) ? subject.slice(0, -typeToken.length) + sanitise(type) : subject;
}

/** All subjects of a stream, as JetStream is told them. */
export function subjectFilter(subject: string): string {
  return subject.endsWith(typeToken) ? `${subject.slice(0, -typeToken.length)}*` : subject;
}

const typeToken = "{type}";

/** A name that is too long is cut, and told apart from its like by what it was. */
function shortened(name: string): string {
  if (name.length <= maxNameLength) return name;
  return `${name.slice(0, keptLength)}_${createHash("sha256").update(name).digest("hex").slice(0, 16)}`;
}
