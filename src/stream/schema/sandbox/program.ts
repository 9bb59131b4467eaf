// The sandbox: a process of its own that evaluates what others wrote as data, expressions and schemas, and can be ended.
import { Worker } from "node:worker_threads";
import { onLines } from "./lines.ts";
import { createOperations } from "./operations.ts";
import { progressBytes, progressOf } from "./progress.ts";
import { failed, type Header, ready, succeeded, unknownProgram } from "./protocol.ts";

/** Memory of the process, in bytes: its runtime alone takes about a tenth. */
const maxBytes = 768_000_000;
/** Lines of output that are written together. */
const linesTogether = 256;

const shared = new SharedArrayBuffer(progressBytes);
const progress = progressOf(shared);
const watchdog = new Worker(new URL("./watchdog.ts", import.meta.url), { workerData: { shared, maxBytes } });
await new Promise((resolve) => watchdog.once("message", resolve));
await write(`${ready}\n`);

const operations = createOperations();
let header: Header | null = null;
let lines: string[] = [];
let working: Promise<void> = Promise.resolve();

function write(text: string): Promise<void> {
  return new Promise((resolve) => process.stdout.write(text, () => resolve()));
}

async function work(call: Header, input: readonly string[]): Promise<void> {
  const { operation, programs, careful, limitMs } = call;
  if (!operations.define(programs)) return write(`${unknownProgram}\n`);
  let output = "";
  let unwritten = 0;
  for (const [n, line] of input.entries()) {
    const step = (isCompilation: boolean) => progress.begin(n, isCompilation ? call.compileMs : limitMs);
    step(false);
    output += `${await outcome(operation, programs, line, step)}\n`;
    unwritten++;
    if (!careful && unwritten < linesTogether) continue;
    progress.rest();
    await write(output);
    output = "";
    unwritten = 0;
  }
  progress.rest();
  if (output !== "") await write(output);
}

async function outcome(
  operation: Header["operation"],
  programs: Header["programs"],
  line: string,
  step: (isCompilation: boolean) => void,
): Promise<string> {
  try {
    return succeeded + (await operations.run(operation, programs, line, step));
  } catch (error) {
    return failed + JSON.stringify(error instanceof Error ? error.message : String(error));
  }
}

onLines(process.stdin, (line) => {
  if (header === null) header = JSON.parse(line) as Header;
  else lines.push(line);
  if (lines.length < header.lines) return;
  const [call, input] = [header, lines];
  header = null;
  lines = [];
  working = working.then(() => work(call, input));
});
// Whoever it works for is gone.
process.stdin.on("end", () => process.exit(0));
process.stdout.on("error", () => process.exit(0));
