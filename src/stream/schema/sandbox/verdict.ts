// How a sandbox tells that something is too expensive, and of what: the same words on both sides.

/** What a line of output says that has failed. */
export type Failure = {
  /** A plain sentence. */
  error: string;
  /** Which of the call's programs failed, from 0. */
  program: number;
};

/** Where a process was when it ended itself. */
export type Place = { line: number; program: number };

export const tooMuch = "It takes too much time or memory";
const maxMessage = 300;

export function failureText(error: unknown, program: number): string {
  const message = error instanceof Error ? error.message : String(error);
  const failure: Failure = { error: message.replace(/\s+/g, " ").slice(0, maxMessage), program };
  return JSON.stringify(failure);
}

/** What a watchdog writes to the errors of its process. */
export const stuckText = ({ line, program }: Place) => `stuck at line ${line} program ${program}\n`;

/** The place that stands last in the errors of a process; null when it ended otherwise. */
export function stuckPlace(errors: string): Place | null {
  const found = [...errors.matchAll(/stuck at line (\d+) program (\d+)/g)].at(-1);
  return found === undefined ? null : { line: Number(found[1]), program: Number(found[2]) };
}
