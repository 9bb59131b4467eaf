// What is told of something that a handler threw, whatever that is.

const maxLength = 1_000;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what goes
const controlCharacters = /[\u0000-\u001f\u007f-\u009f]+/g;

/** One line of at most 1,000 characters; never throws. */
export function messageOf(error: unknown): string {
  return textOf(error).replace(controlCharacters, " ").slice(0, maxLength).toWellFormed();
}

function textOf(error: unknown): string {
  try {
    // What is thrown can be anything, with members that throw themselves.
    return error instanceof Error ? String(error.message || error.name) : String(error);
  } catch {
    return "it threw something that has no text";
  }
}
