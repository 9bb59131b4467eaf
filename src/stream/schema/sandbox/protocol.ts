// What a process and its sandbox say to one another: a header line and lines of input; a line of output for each of input.

/**
 * - `upcast`: the programs are JSONata expressions, each takes what the one before gives; lines are JSON data.
 * - `validate`: the program is a JSON Schema, lines are JSON data; the output is a JSON list of violations, empty when valid.
 * - `inspect-expression`: lines are JSON strings of expressions; the output is null, or what is wrong with it.
 * - `inspect-schema`: lines are JSON of `SchemaInspection`; the output is JSON of `SchemaReport`.
 * - `typescript`: lines are JSON of a schema and a name; the output is a JSON string.
 */
export type Operation = "upcast" | "validate" | "inspect-expression" | "inspect-schema" | "typescript";

/** A text that is compiled once; it travels once to each process, and is known by its key afterwards. */
export type Program = { key: string; text: string };

export type Header = {
  operation: Operation;
  programs: { key: string; text: string | null }[];
  /** How many lines of input follow. */
  lines: number;
  /** Each line of output is written before the next of input is looked at, so that it is known which one was the end of the process. */
  careful: boolean;
  /** Processor time that one line may take, in milliseconds; then the process ends itself. */
  limitMs: number;
  /** The same of the compilation of a program. */
  compileMs: number;
};

/** Lines of output begin with one of these; behind `failed` stands the JSON of a `Failure`. */
export const succeeded = "=";
export const failed = "!";
/** A program has been forgotten meanwhile: its text is wanted. The one line of output of its call. */
export const unknownProgram = "?";
/** The first line of a process: it can work. */
export const ready = "ready";
