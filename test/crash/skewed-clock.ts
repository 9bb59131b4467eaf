// Preloaded into a service: its clock is wrong by CLOCK_SKEW_MS. What measures durations (performance.now) is right.

const skewMs = Number(process.env.CLOCK_SKEW_MS ?? 0);
const realNow = Date.now;
const now = () => realNow() + skewMs;

globalThis.Date = new Proxy(Date, {
  construct: (target, args, newTarget) => Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget),
  apply: (target) => new target(now()).toString(),
  get: (target, name, receiver) => (name === "now" ? now : Reflect.get(target, name, receiver)),
});
