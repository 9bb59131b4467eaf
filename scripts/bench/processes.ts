// Starts the programs that are measured, and the ones that measure.

export type Running = { url: string; stop: () => Promise<void> };

const root = new URL("../../", import.meta.url).pathname;

/** Starts a Bun program of this project and waits for the line that says where it listens. */
export async function startServer(args: string[], env: Record<string, string> = {}): Promise<Running> {
  const child = Bun.spawn([process.execPath, ...args], {
    cwd: root,
    env: { ...process.env, ...env },
    stdout: "pipe",
    stderr: "inherit",
  });
  const lines = child.stdout.getReader();
  const decoder = new TextDecoder();
  let text = "";
  let url: string | undefined;
  while (url === undefined) {
    const { value, done } = await lines.read();
    if (done) throw new Error(`${args.join(" ")} ended before it was ready:\n${text}`);
    text += decoder.decode(value, { stream: true });
    url = /ready on (http:\/\/[^"\s]+)/.exec(text)?.[1];
  }
  void (async () => {
    while (!(await lines.read()).done);
  })();
  return {
    url,
    async stop() {
      child.kill("SIGTERM");
      await child.exited;
    },
  };
}

/** Requests a second of wrk, after a second of warming up. Answers other than 2xx are an error. */
export async function wrk(url: string, connections: number, seconds: number): Promise<number> {
  const run = async (duration: number) => {
    const child = Bun.spawn(
      ["wrk", "-t1", `-c${connections}`, `-d${duration}s`, "-s", `${root}scripts/bench/post.lua`, url],
      { stdout: "pipe" },
    );
    return new Response(child.stdout).text();
  };
  await run(1);
  const report = await run(seconds);
  if (report.includes("Non-2xx")) throw new Error(`wrk was refused:\n${report}`);
  return Number(/Requests\/sec:\s*([\d.]+)/.exec(report)?.[1]);
}

/** Bytes a second that many event streams receive together, over some seconds. `load` runs meanwhile. */
export async function receive(
  url: string,
  path: string,
  connections: number,
  seconds: number,
  load: () => Promise<void>,
): Promise<number> {
  const child = Bun.spawn([process.execPath, `${root}scripts/bench/readers.ts`, url, path, String(connections)], {
    stdout: "pipe",
  });
  const lines = child.stdout.getReader();
  const decoder = new TextDecoder();
  const next = async () => {
    for (;;) {
      const { value, done } = await lines.read();
      if (done) throw new Error("the readers ended");
      const line = decoder.decode(value).trim().split("\n").at(-1);
      if (line) return JSON.parse(line) as { open: number; bytes: number; at: number };
    }
  };
  while ((await next()).open < connections);
  let loading = true;
  const loaded = (async () => {
    while (loading) await load();
  })();
  let sample = await next();
  // The first second is warming up.
  for (const begun = sample.at; sample.at - begun < 1_000; sample = await next());
  const first = sample;
  while (sample.at - first.at < seconds * 1_000) sample = await next();
  loading = false;
  await loaded;
  child.kill();
  await child.exited;
  return (sample.bytes - first.bytes) / ((sample.at - first.at) / 1_000);
}
