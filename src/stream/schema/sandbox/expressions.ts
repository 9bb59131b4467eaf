// JSONata in the sandbox: compiles expressions, evaluates them within bounds, and tells what an upcaster must not use.
import jsonata from "jsonata";
import { tooMuch } from "./verdict.ts";

/** Time of one evaluation that lets itself be interrupted, in milliseconds; what does not is the watchdog's. */
const timeoutMs = 250;
const timeoutCode = "D1012";
/** Of the time, as much must have been the processor's: a machine that is busy elsewhere is no fault of an expression. */
const leastUsedMs = 150;
const triesOnBusyMachine = 10;
const maxDepth = 200;
const maxSequence = 100_000;
/** They give another answer each time, or hide an expression in a string where it cannot be looked at. */
const impure = ["now", "millis", "random", "shuffle", "uuid", "eval"];

export type Expression = { evaluate: (data: unknown) => Promise<unknown> };

/** Throws a plain sentence. */
export function compileExpression(text: string): Expression {
  let expression: jsonata.Expression;
  try {
    expression = jsonata(text, { timeout: timeoutMs, stack: maxDepth, sequence: maxSequence });
  } catch (error) {
    const { message, position } = error as { message: string; position?: number };
    throw new Error(position === undefined ? message : `${message} (at character ${position})`);
  }
  const used = impureName(expression.ast(), new Set());
  if (used !== null) throw new Error(`An upcaster gives the same answer each time: $${used} does not`);
  return {
    async evaluate(data) {
      for (let tries = 1; ; tries++) {
        const before = process.cpuUsage();
        try {
          return await expression.evaluate(data);
        } catch (error) {
          if (error instanceof RangeError) throw new Error(tooMuch);
          if ((error as { code?: unknown } | null)?.code !== timeoutCode) throw new Error(messageOf(error));
          const { user, system } = process.cpuUsage(before);
          if ((user + system) / 1_000 >= leastUsedMs || tries === triesOnBusyMachine) throw new Error(tooMuch);
        }
      }
    },
  };
}

/** What an upcaster gave, as JSON; throws a plain sentence where it is nothing that an event can hold. */
export function resultText(result: unknown, maxLength: number): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(result);
  } catch {
    throw new Error(holdsFunction(result, new Set()) ? "It gives a function" : "It gives what has no JSON");
  }
  // What an expression gives that found nothing.
  if (text === undefined) throw new Error("It gives nothing");
  // Texts of data can have it too.
  if (text.includes('"_jsonata_') && holdsFunction(result, new Set())) throw new Error("It gives a function");
  if (text.length > maxLength) throw new Error(`It gives ${text.length} characters, more than ${maxLength}`);
  return text;
}

/** Whether a function stands in a value: JSONata's are objects with such a member, which can build on themselves. */
function holdsFunction(value: unknown, seen: Set<object>): boolean {
  if (typeof value !== "object" || value === null || seen.has(value)) return false;
  seen.add(value);
  const { _jsonata_function, _jsonata_lambda } = value as Record<string, unknown>;
  if (_jsonata_function === true || _jsonata_lambda === true) return true;
  return Object.values(value).some((part) => holdsFunction(part, seen));
}

function messageOf(error: unknown): string {
  const message = (error as { message?: unknown } | null)?.message;
  return typeof message === "string" ? message : String(error);
}

/** The name of a function in a syntax tree that must not be used; the tree of an expression that builds on itself has circles. */
function impureName(node: unknown, seen: Set<object>): string | null {
  if (typeof node !== "object" || node === null || seen.has(node)) return null;
  seen.add(node);
  const { type, value } = node as { type?: unknown; value?: unknown };
  if (type === "variable" && impure.includes(String(value))) return String(value);
  for (const part of Object.values(node)) {
    const found = impureName(part, seen);
    if (found !== null) return found;
  }
  return null;
}
