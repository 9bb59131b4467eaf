// The process that evaluates expressions and schemas: what it is given ends in time, whatever it is, and nothing else pays for it.
import { afterEach, expect, test } from "bun:test";
import { createLog } from "../../../src/base/log.ts";
import { createSandbox, type Outcome, type Sandbox } from "../../../src/stream/schema/sandbox/sandbox.ts";
import { until } from "../../support/until.ts";

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

function newSandbox(limitMs = 500): Sandbox {
  const sandbox = createSandbox({ name: "test", limitMs, log: createLog("silent", "test") });
  stops.push(sandbox.stop);
  return sandbox;
}

const program = (text: string) => ({ key: text, text });
const upcast = (sandbox: Sandbox, expression: string, data: readonly unknown[]) =>
  sandbox.run(
    "upcast",
    [program(expression)],
    data.map((one) => JSON.stringify(one)),
  );
const inspect = async (sandbox: Sandbox, expression: string) =>
  (await sandbox.run("inspect-expression", [], [JSON.stringify(expression)]))[0]?.error;
const brief = (outcomes: readonly Outcome[]) => outcomes.map(({ text, error }) => text ?? `failed: ${error}`);
const tooMuch = "failed: It takes too much time or memory";

/** The processes that this one has started and that evaluate. */
function children(): number[] {
  const found = Bun.spawnSync(["pgrep", "-P", String(process.pid), "-f", "sandbox/program.ts"]).stdout.toString();
  return found.split("\n").filter(Boolean).map(Number);
}
const childOf = (before: readonly number[]) =>
  until("the process is there", () => children().find((pid) => !before.includes(pid)));

test("outcomes come in the order of what was given, each with its own", async () => {
  const sandbox = newSandbox();
  const numbers = Array.from({ length: 1_000 }, (_, n) => n);
  const calls = ["$ * 2", "$ + 1", "$string($)"].map((text) => upcast(sandbox, text, numbers));
  expect((await Promise.all(calls)).map(brief)).toEqual([
    numbers.map((n) => `${n * 2}`),
    numbers.map((n) => `${n + 1}`),
    numbers.map((n) => `"${n}"`),
  ]);
});

test("expressions are chained, and texts come back as they are, whatever is in them", async () => {
  const sandbox = newSandbox();
  const odd = 'a\n\r\u2028\u0000\ud83d\ude00"\\';
  const chain = ['{"v": v, "first": true}', '$merge([$, {"second": true}])'].map(program);
  const [outcome] = await sandbox.run("upcast", chain, [JSON.stringify({ v: odd })]);
  expect(JSON.parse(outcome?.text as string)).toEqual({ v: odd, first: true, second: true });
});

const expensive = {
  "loops for ever": "($f := function($n) { $f($n + 1) }; hostile ? $f(0) : 1)",
  "recurses without an end": "($f := function($n) { 1 + $f($n + 1) }; hostile ? $f(0) : 1)",
  "fills the memory with text": 'hostile ? $length($pad("x", 2000000000)) : 1',
  "doubles what it has": "hostile ? $count($reduce([1..60], function($a, $_) { $append($a, $a) }, [1])) : 1",
  "matches a pattern that backtracks":
    'hostile ? $match("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", /^(a+)+$/) : 1',
};
for (const [what, expression] of Object.entries(expensive))
  test(`an expression that ${what} fails alone, also among others of one call`, async () => {
    const sandbox = newSandbox();
    const data = [{ hostile: false }, { hostile: true }, { hostile: false }];
    const [outcomes, others] = await Promise.all([upcast(sandbox, expression, data), upcast(sandbox, "$ * 2", [1, 2])]);
    expect(brief(outcomes)).toEqual(["1", expect.stringMatching(/^failed: ./), "1"]);
    expect(brief(others)).toEqual(["2", "4"]);
  });

test("a process that is killed from outside loses nothing, and nothing is blamed for it", async () => {
  const before = children();
  const sandbox = newSandbox(60_000);
  const slow = "($f := function($n) { $n > 0 ? $f($n - 1) : 0 }; $f(500))";
  const calls = Array.from({ length: 8 }, (_, n) => upcast(sandbox, `${slow} + ${n}`, Array(50).fill({})));
  const first = await childOf(before);
  await calls[0];
  process.kill(first, "SIGKILL");
  expect((await Promise.all(calls)).map(brief)).toEqual(calls.map((_, n) => Array(50).fill(`${n}`)));
  expect(await childOf([...before, first])).not.toBe(first);
  expect(sandbox.counters()).toMatchObject({ failed: 0, killed: 0, lines: 400 });
});

test("an expression that was too expensive three times is left alone, while others go on", async () => {
  const sandbox = newSandbox();
  const hostile = expensive["loops for ever"];
  for (let times = 0; times < 3; times++)
    expect(brief(await upcast(sandbox, hostile, [{ hostile: true }]))).toEqual([tooMuch]);
  expect(brief(await upcast(sandbox, hostile, [{ hostile: false }]))).toEqual([
    expect.stringMatching(/^failed: .*several times.*left alone for a minute$/),
  ]);
  expect(brief(await upcast(sandbox, "$ * 2", [1]))).toEqual(["2"]);
});

test("a schema that takes too long for some data fails for them alone", async () => {
  const sandbox = newSandbox();
  const steps = Array.from({ length: 40 }, (_, n) => [
    `d${n}`,
    { allOf: Array(2).fill({ $ref: `#/$defs/d${n + 1}` }) },
  ]);
  const $defs = { ...Object.fromEntries(steps), d40: true };
  const schema = program(JSON.stringify({ $defs, properties: { slow: { $ref: "#/$defs/d0" } } }));
  const data = [{ quick: 1 }, { slow: 1 }, {}].map((one) => JSON.stringify(one));
  expect(brief(await sandbox.run("validate", [schema], data))).toEqual(["", tooMuch, ""]);
});

test("expressions that give another answer each time are refused in plain words", async () => {
  const sandbox = newSandbox();
  for (const name of ["now", "millis", "random", "shuffle", "uuid", "eval"])
    for (const text of [`$${name}()`, `{"a": [$map(b, $${name})]}`, `($f := $${name}; $f())`, `a ~> $${name}`])
      expect(await inspect(sandbox, text)).toBe(`An upcaster gives the same answer each time: $${name} does not`);
  expect(await inspect(sandbox, "{'now': now, 'random': $string(random)}")).toBeNull();
});

test("what is no expression is refused with the place where it goes wrong", async () => {
  const sandbox = newSandbox();
  for (const text of ["{", "a +", "$f(", '"open', "a[", "}"]) {
    const error = await inspect(sandbox, text);
    expect(error).toMatch(/^[A-Z].* \(at character \d+\)$/);
    expect(error).not.toMatch(/\n|node_modules|\bat .*:\d+:\d+/);
  }
});

test("what is nothing that an event can hold is no result", async () => {
  const sandbox = newSandbox();
  const outcome = async (text: string, data: unknown = {}) => brief(await upcast(sandbox, text, [data]))[0];
  expect(await outcome("missing")).toBe("failed: It gives nothing");
  expect(await outcome("function($x) { $x }")).toBe("failed: It gives a function");
  expect(await outcome("$sum")).toBe("failed: It gives a function");
  expect(await outcome('{"text": text}', { text: 'a "_jsonata_lambda" in a text' })).toContain("in a text");
  expect(await outcome('{"f": $sum, "g": function($x) { $x }}')).toBe("failed: It gives a function");
  expect(await outcome('$pad("x", 1100000)')).toMatch(/^failed: It gives 1100002 characters, more than 16392$/);
  expect(await outcome("$pad(a, 20000)", { a: "x".repeat(5_000) })).toContain("xxx");
  expect(await outcome('$error("not this one")')).toBe("failed: not this one");
  expect(await outcome("$number(a)", { a: "x" })).toMatch(/^failed: .*number/);
  expect(await outcome("null")).toBe("null");
});

test("of many lines only the one that cannot be interrupted fails, at once and wherever it stands", async () => {
  const sandbox = newSandbox();
  const data = Array.from({ length: 600 }, (_, n) => ({ n, size: n === 401 ? 2_000_000_000 : 3 }));
  const outcomes = brief(await upcast(sandbox, '{"n": n, "x": $length($pad("x", size))}', data));
  expect(outcomes.filter((outcome) => outcome.startsWith("failed"))).toEqual([
    "failed: It takes too much time or memory",
  ]);
  expect(outcomes[401]).toStartWith("failed");
  expect(outcomes[402]).toBe('{"n":402,"x":3}');
  expect(sandbox.counters()).toMatchObject({ killed: 1, failed: 1 });
});

test("of a chain only the expression that was too expensive is left alone", async () => {
  const sandbox = newSandbox();
  const [cheap, costly] = [program('{"n": n}'), program('$length($pad("x", n))')];
  for (let n = 0; n < 3; n++)
    expect(brief(await sandbox.run("upcast", [cheap, costly], [`{"n":${2e9 + n}}`]))).toEqual([tooMuch]);
  expect(brief(await sandbox.run("upcast", [cheap], ['{"n":1}']))).toEqual(['{"n":1}']);
  expect(await sandbox.run("upcast", [cheap, costly], ['{"n":1}'])).toMatchObject([{ text: null, passing: true }]);
});

test("what is told of violations stays small, however large the schema and the data are", async () => {
  const sandbox = newSandbox();
  const codes = Array.from({ length: 5_000 }, (_, n) => `code-${n}`);
  const schema = program(JSON.stringify({ type: "array", items: { enum: codes } }));
  const wrong = JSON.stringify(Array.from({ length: 20 }, (_, n) => n));
  const outcomes = await sandbox.run("validate", [schema], new Array(1_000).fill(wrong));
  const texts = outcomes.map(({ text }) => text ?? "");
  expect(texts.every((text) => JSON.parse(text).length > 0)).toBeTrue();
  expect(texts.join("").length).toBeLessThan(500_000);
  expect(JSON.parse(texts[0] as string)[0].message).toMatch(/^must be one of "code-0", .* and 4990 more$/);
});

test("data are never taken for a part of the program that evaluates them", async () => {
  const sandbox = newSandbox();
  const data = { __proto__: 1, constructor: { prototype: { polluted: 1 } }, _jsonata_lambda: false };
  const text = '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}';
  const [echoed] = await sandbox.run("upcast", [program("$")], [text]);
  expect(JSON.parse(echoed?.text as string)).toEqual(JSON.parse(text));
  expect(brief(await upcast(sandbox, "polluted", [{}]))).toEqual(["failed: It gives nothing"]);
  expect(brief(await upcast(sandbox, "constructor.prototype.polluted", [data]))).toEqual(["1"]);
  for (const reach of ["constructor", "__proto__", "toString", "$string.constructor", "__proto__.constructor"])
    expect(brief(await upcast(sandbox, reach, [{ a: 1 }]))).toEqual([expect.stringMatching(/^failed: /)]);
});

test("as long as the process cannot start, work is refused as unavailable, and later done", async () => {
  const sandbox = await until("a process ends before it is ready", async () => {
    const before = children();
    const candidate = newSandbox();
    const refused = upcast(candidate, "1", [{}]).catch((error) => error.code);
    let isOver = false;
    void refused.then(() => {
      isOver = true;
    });
    // Each start that it tries.
    while (!isOver) {
      for (const pid of children()) if (!before.includes(pid)) process.kill(pid, "SIGKILL");
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    return (await refused) === "schemas-unavailable" ? candidate : null;
  });
  expect(await upcast(sandbox, "1", [{}]).catch((error) => error.code)).toBe("schemas-unavailable");
  const outcomes = await until("it works", () => upcast(sandbox, "1 + 1", [{}]).catch(() => null));
  expect(brief(outcomes)).toEqual(["2"]);
});

test("a stop leaves no process behind, also in the middle of work", async () => {
  const before = children();
  const sandbox = newSandbox(60_000);
  await upcast(sandbox, "1", [{}]);
  const hard = '$match("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", /^(a+)+$/)';
  const looping = upcast(sandbox, hard, Array(1_000).fill({})).catch((error) => error.code);
  const waiting = upcast(sandbox, "1", [{}]).catch((error) => error.code);
  const pid = await childOf(before);
  await sandbox.stop();
  expect(await Promise.all([looping, waiting])).toEqual(["shutting-down", "shutting-down"]);
  expect(children()).not.toContain(pid);
  expect(await upcast(sandbox, "1", [{}]).catch((error) => error.code)).toBe("shutting-down");
});
