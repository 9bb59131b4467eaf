// What the sandbox can do, and the programs that it has compiled.
import type { ValidateFunction } from "ajv";
import type { JsonSchema } from "../json-schema/keywords.ts";
import { compileExpression, type Expression, resultText } from "./expressions.ts";
import type { Header, Operation } from "./protocol.ts";
import type { SchemaInspection } from "./schema-report.ts";

export type Operations = {
  /** Makes programs known; false when the text of one is missing. Their compilation waits for the first use. */
  define: (programs: Header["programs"]) => boolean;
  /** The output for one line of input; `step` is called before what may take long. Throws a plain sentence. */
  run: (operation: Operation, programs: Header["programs"], line: string, step: Step) => Promise<string>;
};

/** A step is begun: of which of the call's programs, and whether it is its compilation. */
export type Step = (program: number, isCompilation: boolean) => void;

type Compiled = { text: string; expression: Expression | null; validate: ValidateFunction | null };

const maxPrograms = 500;
const maxTold = 100;
/** An upcaster's result has so many characters more at most than so many times its data: a page of events stays one. */
const moreCharacters = 16_384;
const timesData = 4;

export function createOperations(): Operations {
  const known = new Map<string, Compiled>();
  /** Violations that the call under way has been told of. */
  let told = 0;

  async function upcast(programs: Header["programs"], line: string, step: Step): Promise<string> {
    let data: unknown = JSON.parse(line);
    for (const [n, { key }] of programs.entries()) {
      const compiled = known.get(key) as Compiled;
      if (compiled.expression === null) {
        step(n, true);
        compiled.expression = compileExpression(compiled.text);
      }
      step(n, false);
      data = await compiled.expression.evaluate(data);
      if (data === undefined) break;
    }
    return resultText(data, moreCharacters + timesData * line.length);
  }

  async function validate([program]: Header["programs"], line: string, step: Step): Promise<string> {
    const compiled = known.get(program?.key ?? "") as Compiled;
    step(0, true);
    const { compileSchema, violationsOf } = await import("./json-schemas.ts");
    compiled.validate ??= compileSchema(JSON.parse(compiled.text) as JsonSchema);
    step(0, false);
    if (compiled.validate(JSON.parse(line))) return "";
    // Of many events that are wrong, what is wrong with the first ones is told in full.
    const violations = violationsOf(compiled.validate.errors, told < maxTold ? undefined : 1);
    told += violations.length;
    return JSON.stringify(violations);
  }

  return {
    define(programs) {
      told = 0;
      for (const { key, text } of programs) {
        const compiled = known.get(key);
        if (compiled !== undefined) {
          // The one that was not used for longest is forgotten first.
          known.delete(key);
          known.set(key, compiled);
        } else if (text === null) return false;
        else known.set(key, { text, expression: null, validate: null });
      }
      for (const key of known.keys()) {
        // The call's own stand last.
        if (known.size <= Math.max(maxPrograms, programs.length)) break;
        known.delete(key);
      }
      return true;
    },
    async run(operation, programs, line, step) {
      switch (operation) {
        case "upcast":
          return upcast(programs, line, step);
        case "inspect-expression":
          step(0, true);
          compileExpression(JSON.parse(line) as string);
          return "null";
        case "validate":
          return validate(programs, line, step);
        case "inspect-schema": {
          step(0, true);
          const { reportOf } = await import("./schema-report.ts");
          return JSON.stringify(reportOf(JSON.parse(line) as SchemaInspection));
        }
        case "typescript": {
          step(0, true);
          const { typescriptOf } = await import("./typescript.ts");
          const { schema, name } = JSON.parse(line) as { schema: JsonSchema; name: string };
          return JSON.stringify(await typescriptOf(schema, name));
        }
        default:
          return operation satisfies never;
      }
    },
  };
}
