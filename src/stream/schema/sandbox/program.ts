// The sandbox: a process of its own that evaluates what others wrote as data, expressions and schemas, and can be ended.
import { Worker } from "node:worker_threads";
import { onLines } from "./lines.ts";
import { createOperations, type Step } from "./operations.ts";
import { progressBytes, progressOf } from "./progress.ts";
import { failed, type Header, ready, succeeded, unknownProgram } from "./protocol.ts";
import { failureText } from "./verdict.ts";

/** Memory of the process, in bytes: its runtime alone takes about a tenth. */
const maxBytes = 768_000_000;
/** Lines of output that are written together. */
const linesTogether = 256;
/** Time after which what there is of them is written, in milliseconds. */
const quietMs = 500;

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
  const { operation, programs, careful } = call;
  if (!operations.define(programs)) return write(`${unknownProgram}\n`);
  let output = "";
  let unwritten = 0;
  let writtenAt = performance.now();
  for (const [line, text] of input.entries()) {
    let at = 0;
    const step: Step = (program, isCompilation) => {
      at = program;
      progress.begin({ line, program }, isCompilation ? call.compileMs : call.limitMs);
    };
    step(0, false);
    try {
      output += `${succeeded}${await operations.run(operation, programs, text, step)}\n`;
    } catch (error) {
      output += `${failed}${failureText(error, at)}\n`;
    }
    unwritten++;
    if (!careful && unwritten < linesTogether && performance.now() - writtenAt < quietMs) continue;
    progress.rest();
    await write(output);
    output = "";
    unwritten = 0;
    writtenAt = performance.now();
  }
  progress.rest();
  if (output !== "") await write(output);
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
