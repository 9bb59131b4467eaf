// Names of consumers: the same on every process, and never those of another mirror.
import { expect, test } from "bun:test";
import { consumerName } from "../../../src/delivery/bridge/inbound/consumer.ts";

test("where both names are plain, the consumer is called by them", () => {
  expect(consumerName("svcb", "users")).toBe("svcb_users");
  expect(consumerName("svc-b", "Users-2")).toBe("svc-b_Users-2");
});

test("where one of them is not, the name ends with a hash of both, and is one that NATS takes", () => {
  for (const [service, remote] of [
    ["svcb", "a.b"],
    ["svcb", "a_b"],
    ["a_b", "c"],
    ["svc b", "users"],
    ["dienst-ä", "users"],
  ] as const) {
    expect(consumerName(service, remote)).toMatch(/^[^\s.*>/\\]+-[0-9a-f]{8}$/);
    expect(consumerName(service, remote)).toBe(consumerName(service, remote));
  }
  expect(consumerName("s".repeat(200), "n".repeat(200)).length).toBeLessThanOrEqual(255);
});

test("no two mirrors share a name", () => {
  const pairs = [
    ["svcb", "a.b"],
    ["svcb", "a_b"],
    ["svcb", "a:b"],
    ["a_b", "c"],
    ["a", "b_c"],
    ["a.b", "c"],
    ["a", "b"],
    ["s".repeat(200), `${"n".repeat(199)}a`],
    ["s".repeat(200), `${"n".repeat(199)}b`],
  ] as const;
  expect(new Set(pairs.map(([service, remote]) => consumerName(service, remote))).size).toBe(pairs.length);
});
