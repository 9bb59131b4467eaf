// What a service must never have to log, whatever happens around it: defects of its own.

const defects = new Set([
  "unhandled rejection",
  "uncaught exception",
  "append batch failed",
  "a listener of the tail failed",
  "a follower failed",
  "starting sagas failed",
  "recording sagas failed",
  "a saga could not be carried on",
  "a saga could not be given up",
]);

/** The defects in a service's log (a JSON object a line), each once, with the error's message. */
export function defectsLogged(service: number, log: string): string[] {
  const found = new Set<string>();
  for (const line of log.split("\n")) {
    // The last line of a process that was killed may be torn.
    if (!line.startsWith("{") || !line.endsWith("}")) continue;
    const { msg = "", err } = JSON.parse(line) as { msg?: string; err?: { message?: string; code?: string } };
    // What is appended is numbered by the log itself: two rows of one number are nobody's data's fault.
    const isNumberedTwice = msg === "append failed" && err?.code === "23505";
    if (defects.has(msg) || isNumberedTwice) found.add(`service ${service} logged: ${msg}: ${err?.message ?? ""}`);
  }
  return [...found];
}
