// What the peers' programs share: callers that append one event after the other for some time.

/** The options that the bench gives to a program. */
export const options = JSON.parse(process.argv[2] ?? "{}");

export const event = {
  type: "OrderPlaced",
  data: {
    orderId: "o-1",
    customer: "someone",
    amount: 120.5,
    items: [
      { sku: "abc", n: 1 },
      { sku: "def", n: 2 },
    ],
    note: "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
  },
};

/** Appends from all callers, a second to warm up and then as long as asked; prints how many a second were stored. */
export async function measure(append) {
  let next = 0;
  const run = async (seconds) => {
    const started = performance.now();
    let appended = 0;
    const call = async () => {
      while (performance.now() - started < seconds * 1_000) {
        await append((next++ % options.streams) + 1);
        appended++;
      }
    };
    await Promise.all(Array.from({ length: options.callers }, call));
    return appended / ((performance.now() - started) / 1_000);
  };
  await run(1);
  console.log(JSON.stringify({ perSecond: await run(options.seconds) }));
}
