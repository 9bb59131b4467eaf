// What the sandbox can do, and the programs that it has compiled.
import type { ValidateFunction } from "ajv";
import type { JsonSchema } from "../json-schema/keywords.ts";
import { compileExpression, type Expression, resultText } from "./expressions.ts";
import type { Header, Operation } from "./protocol.ts";
import type { SchemaInspection } from "./schema-report.ts";

export type Operations = {
  /** Makes programs known; false when the text of one is missing. Their compilation waits for the first use. */
  define: (operation: Operation, programs: Header["programs"]) => boolean;
  /** The output for one line of input. Throws a plain sentence. */
  run: (operation: Operation, programs: Header["programs"], line: string) => Promise<string>;
};

type Compiled = { text: string; expression: Expression | null; validate: ValidateFunction | null };

const maxPrograms = 500;
const maxResultLength = 1_048_576;

export function createOperations(): Operations {
  const known = new Map<string, Compiled>();

  async function upcast(programs: Header["programs"], line: string): Promise<string> {
    let data: unknown = JSON.parse(line);
    for (const { key } of programs) {
      const compiled = known.get(key) as Compiled;
      compiled.expression ??= compileExpression(compiled.text);
      data = await compiled.expression.evaluate(data);
      if (data === undefined) break;
    }
    return resultText(data, maxResultLength);
  }

  async function validate([program]: Header["programs"], line: string): Promise<string> {
    const compiled = known.get(program?.key ?? "") as Compiled;
    const { compileSchema, violationsOf } = await import("./json-schemas.ts");
    compiled.validate ??= compileSchema(JSON.parse(compiled.text) as JsonSchema);
    if (compiled.validate(JSON.parse(line))) return "";
    return JSON.stringify(violationsOf(compiled.validate.errors));
  }

  return {
    define(_, programs) {
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
        if (known.size <= maxPrograms) break;
        known.delete(key);
      }
      return true;
    },
    async run(operation, programs, line) {
      switch (operation) {
        case "upcast":
          return upcast(programs, line);
        case "inspect-expression":
          compileExpression(JSON.parse(line) as string);
          return "null";
        case "validate":
          return validate(programs, line);
        case "inspect-schema": {
          const { reportOf } = await import("./schema-report.ts");
          return JSON.stringify(reportOf(JSON.parse(line) as SchemaInspection));
        }
        case "typescript": {
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
