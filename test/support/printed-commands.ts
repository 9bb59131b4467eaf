// The commands that a page prints, as whoever reads it would run them: one after the other in bash, against a fresh service.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "./until.ts";

export type PrintedBlock = {
  /** The heading under which it stands. */
  heading: string;
  commands: string;
  /** What the page shows as its output; null when it shows none. */
  shown: string | null;
  /** It shows what comes for as long as somebody looks: a `curl -N` in the foreground. */
  isEndless: boolean;
  /** It is to be run in a second terminal, and stays there. */
  isAside: boolean;
};

export type RunBlock = PrintedBlock & { output: () => string };

/** The `sh` blocks of a page; what installs or starts things is left out. */
export function printedBlocks(markdown: string): PrintedBlock[] {
  const blocks: PrintedBlock[] = [];
  let heading = "";
  let lead = "";
  const fence = /^```(\w*)\n([\s\S]*?)^```$/gm;
  let at = 0;
  for (const match of markdown.matchAll(fence)) {
    const between = markdown.slice(at, match.index);
    at = match.index + match[0].length;
    heading = [...between.matchAll(/^#+ (.*)$/gm)].at(-1)?.[1] ?? heading;
    lead = between.trim().split("\n\n").at(-1) ?? "";
    const [, language, text] = match as unknown as [string, string, string];
    const last = blocks.at(-1);
    if (language === "" && between.trim() === "" && last?.shown === null) last.shown = text;
    if (language !== "sh" || /^(\.\/scripts|docker) ?/m.test(text)) continue;
    blocks.push({
      ...{ heading, commands: text, shown: null },
      isEndless: /^curl -N .*[^&]$/m.test(text),
      isAside: /second terminal/.test(lead),
    });
  }
  return blocks;
}

/** Runs the blocks in order. Returns them with what they wrote, and the commands that failed. */
export async function runPrinted(
  blocks: readonly PrintedBlock[],
  url: string,
): Promise<{ ran: RunBlock[]; failed: string[] }> {
  const folder = await mkdtemp(join(tmpdir(), "sluice-page-"));
  const failures = join(folder, "failures");
  await writeFile(failures, "");
  // An answer of 400 and above is a failure, which curl by itself does not say.
  await writeFile(join(folder, ".curlrc"), "fail-with-body\n");
  const ran: RunBlock[] = [];
  const asides: ReturnType<typeof start>[] = [];

  function start() {
    const shell = Bun.spawn(["bash", "--norc", "--noprofile"], {
      cwd: folder,
      env: { PATH: process.env.PATH, HOME: folder, CURL_HOME: folder },
      stdin: "pipe",
      stdout: "pipe",
      stderr: "ignore",
    });
    let output = "";
    void (async () => {
      const decoder = new TextDecoder();
      for await (const chunk of shell.stdout) output += decoder.decode(chunk, { stream: true });
    })();
    const write = (text: string) => {
      shell.stdin.write(text);
      shell.stdin.flush();
    };
    // The pauses of a page are for a quiet machine.
    write(
      `set -E -o pipefail; trap 'echo "$BASH_COMMAND" >> ${failures}' ERR; sleep() { command sleep $(($1 * 2)); }\n`,
    );
    return { shell, write, output: () => output };
  }

  const terminal = start();
  try {
    for (const [n, block] of blocks.entries()) {
      const commands = block.commands.replaceAll("http://127.0.0.1:8080", url);
      if (block.isEndless) {
        const aside = start();
        // So that the shell's end is curl's.
        aside.write(commands.replace(/^curl -N /m, "exec curl -N "));
        ran.push({ ...block, output: aside.output });
        await until(`${block.heading}: it flows`, () => aside.output().includes("sluice.ready"));
        if (block.isAside) {
          asides.push(aside);
          continue;
        }
        // Whoever reads the page looks at what comes, and goes on.
        await until(`${block.heading}: something comes`, () => aside.output().includes('data: {"specversion"'));
        aside.shell.kill();
        await aside.shell.exited;
        continue;
      }
      const before = terminal.output().length;
      const end = `<end of block ${n}>`;
      terminal.write(`${commands}\necho; echo '${end}'\n`);
      await until(`${block.heading}: the commands end`, () => terminal.output().includes(end));
      const written = terminal.output().slice(before).split(end)[0] as string;
      ran.push({ ...block, output: () => written });
    }
    const failed = (await Bun.file(failures).text()).split("\n").filter((line) => line !== "");
    return { ran, failed };
  } finally {
    for (const { shell } of [terminal, ...asides]) {
      shell.kill();
      await shell.exited;
    }
    await rm(folder, { recursive: true, force: true });
  }
}

/** The lines of what a page shows that do not stand, in their order, in what came; ids and times are others each time. */
export function missingLines(shown: string, output: string): string[] {
  let at = 0;
  return shown.split("\n").filter((line) => {
    if (line === "") return false;
    const found = pattern(line).exec(output.slice(at));
    if (found !== null) at += found.index + found[0].length;
    return found === null;
  });
}

function pattern(line: string): RegExp {
  const others: [RegExp, string][] = [
    [/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "[0-9a-f-]{36}"],
    [/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\\\.\d+Z/g, "[0-9T:.-]+Z"],
    [/^Date: .*/, "Date: .*"],
    [/^retry: \d+/, "retry: \\d+"],
    [/"deliverytoken":"[^"]*"/, '"deliverytoken":"[^"]+"'],
    [/…/g, ".*?"],
  ];
  const escaped = line.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(others.reduce((text, [what, by]) => text.replace(what, () => by), escaped));
}
