// The checks of the bridge find what they are for, and nothing in a run that is right.
import { describe, expect, test } from "bun:test";
import type { BridgedSnapshot } from "../crash/bridge-snapshot.ts";
import { lateType } from "../crash/bridged.ts";
import { acknowledgedWhileAway, bridgeWasTried } from "../crash/check/bridge.ts";
import { append } from "./doctored.ts";
import { addStranger, type BridgeRun, rightRun, streamOf, violationsOf } from "./doctored-bridge.ts";

function expectOne(run: BridgeRun, about: string): void {
  const violations = violationsOf(run);
  expect(violations.length).toBeGreaterThan(0);
  expect(violations.join("\n")).toContain(about);
}

/** The run with one stream changed. */
function runWith(name: string, change: (stream: BridgedSnapshot) => void): BridgeRun {
  const run = rightRun();
  change(streamOf(run, name));
  return run;
}

test("a run in which everything is right has no violation", () => {
  expect(violationsOf(rightRun())).toEqual([]);
});

test("a run that has seen no fault, and in which NATS was never away, has proved nothing", () => {
  const { history, snapshot } = rightRun();
  const missing = bridgeWasTried(history, snapshot);
  expect(missing).toContain("the run has not seen a fault");
  expect(missing).toContain("the run has not seen an append that was acknowledged while NATS was away");
});

test("an append counts as acknowledged while NATS is away only if all of it happened then", () => {
  const away = (at: number, isAway: boolean) => ({ kind: "nats-away" as const, at, isAway });
  const [invoked, answered] = append("a", { from: 5, to: 6 });
  const both = [invoked, answered].flatMap((entry) => entry ?? []);
  expect(acknowledgedWhileAway([away(1, true), ...both, away(9, false)])).toBe(1);
  expect(acknowledgedWhileAway([away(1, true), away(4, false), ...both])).toBe(0);
  expect(acknowledgedWhileAway([...both.slice(0, 1), away(5.5, true), ...both.slice(1)])).toBe(0);
});

test("an append that was acknowledged and is missing from the log is found", () => {
  const run = rightRun();
  run.history.push(...append("gone", { stream: "orders" }));
  expectOne(run, "gone is missing");
});

describe("JetStream", () => {
  test("that lacks an event is found", () => {
    expectOne(
      runWith("orders", ({ held }) => held.splice(2, 1)),
      "orders 2 is not in JetStream",
    );
  });
  test("that has an event twice is found", () => {
    const run = runWith("orders", ({ held }) => held.push({ ...held[1], sequence: 99 } as (typeof held)[number]));
    expectOne(run, "orders 1, in JetStream at 99, is there a second time");
  });
  test("that has events out of order is found", () => {
    const run = runWith("orders", ({ held }) => {
      const [one, other] = [held[1], held[2]] as [(typeof held)[number], (typeof held)[number]];
      held.splice(1, 2, { ...other, sequence: one.sequence }, { ...one, sequence: other.sequence });
    });
    expectOne(run, "orders 1, in JetStream at 3, stands behind 2");
  });
  test("that has another content, or nothing that can be read, is found", () => {
    const other = runWith("users.v1", ({ held }) => {
      (held[1]?.content as Record<string, string>).data = "{}";
    });
    expectOne(other, "users.v1 1, in JetStream at 2, differs from the log in data");
    const less = runWith("users.v1", ({ held }) => {
      const { source: _, ...rest } = held[1]?.content ?? {};
      Object.assign(held[1] as object, { content: rest });
    });
    expectOne(less, "differs from the log in source");
    const none = runWith("users.v1", ({ held }) => {
      (held[1] as (typeof held)[number]).content = null;
    });
    expectOne(none, "differs from the log in everything");
  });
  test("that has an event of another log, or that the log does not have, is found", () => {
    const another = runWith("orders", ({ held }) => Object.assign(held[1] as object, { logId: "older" }));
    expectOne(another, "orders 1, in JetStream at 2, is of the log older");
    const unknown = runWith("orders", ({ held }) => Object.assign(held[1] as object, { offset: 77 }));
    expectOne(unknown, "orders 77, in JetStream at 2, is not in the log");
  });
  test("that is bounded and does not have the last events is found", () => {
    const run = runWith("recent", ({ held }) => held.pop());
    expectOne(run, "recent 7 is not in JetStream");
    const earlier = runWith("recent", ({ held, log }) => {
      const first = log[1] as (typeof log)[number];
      held.unshift({ sequence: 2, offset: 1, logId: "log", content: first.content, text: "" });
    });
    expectOne(earlier, "recent 1, in JetStream at 2, is not to be there");
  });
  test("from which something is withheld that is not listed, or listed without need, is found", () => {
    expectOne(
      runWith("orders", ({ withheld }) => withheld.pop()),
      "orders 5 is too large, and is not listed as withheld",
    );
    const needless = runWith("orders", ({ withheld }) =>
      withheld.push({ offset: 1, id: "id-orders/1", reason: "too large" }),
    );
    expectOne(needless, "orders 1 is withheld as id-orders/1, and NATS takes it");
    const silent = runWith("orders", ({ withheld }) => Object.assign(withheld[0] as object, { reason: "" }));
    expectOne(silent, "orders 5 is withheld without a reason");
  });
});

describe("a mirror", () => {
  test("that lacks an event is found", () => {
    expectOne(
      runWith("orders", ({ mirrored }) => mirrored.splice(2, 1)),
      "orders 2 (id-orders/2) is neither in orders nor a dead letter of it",
    );
  });
  test("that has an event twice is found", () => {
    const run = runWith("users.v1", ({ mirrored }) =>
      mirrored.push({ ...mirrored[1], offset: 99 } as (typeof mirrored)[number]),
    );
    expectOne(run, "users.v1 1 (id-users.v1/1) is in people 2 times");
  });
  test("that has an event, and a dead letter of it too, is found", () => {
    const run = runWith("checked", ({ mirrored, letters }) => {
      const copy = { ...mirrored[0], origin: { stream: "checked", offset: 3, logId: "log" }, offset: 99 };
      mirrored.push({ ...copy, content: letters[0]?.content ?? {} });
    });
    expectOne(run, "is in checked-copy 1 times, and 1 times a dead letter of it");
  });
  test("that has two dead letters of one event, or none, is found", () => {
    const twice = runWith("checked", ({ letters }) => letters.push(...letters));
    expectOne(twice, "is in checked-copy 0 times, and 2 times a dead letter of it");
    expectOne(
      runWith("checked", ({ letters }) => letters.pop()),
      "checked 3 (id-checked/3) is neither in checked-copy nor a dead letter of it",
    );
  });
  test("that gives up what it could take, or takes what does not match, is found", () => {
    const needless = runWith("checked", ({ mirrored, letters }) => {
      const [event] = mirrored.splice(1, 1) as [(typeof mirrored)[number]];
      letters.push({ ...(letters[0] as (typeof letters)[number]), offset: 1, content: event.content });
    });
    expectOne(needless, "checked 1 (id-checked/1) is a dead letter of checked-copy without need");
    const taken = runWith("checked", ({ mirrored, letters }) => {
      const [letter] = letters.splice(0) as [(typeof letters)[number]];
      const origin = { stream: "checked", offset: 3, logId: "log" };
      mirrored.splice(3, 0, { offset: 3, content: letter.content ?? {}, origin });
    });
    expectOne(taken, "does not match the schema, and is in checked-copy");
  });
  test("that gives up too early, or for another reason, is found", () => {
    const early = runWith("checked", ({ letters }) => Object.assign(letters[0] as object, { attempts: 1 }));
    expectOne(early, "was given up by checked-copy after 1 tries, with schema-mismatch");
    const other = runWith("checked", ({ letters }) => Object.assign(letters[0] as object, { reason: "invalid-event" }));
    expectOne(other, "with invalid-event");
  });
  test("whose event or dead letter has another content is found", () => {
    const event = runWith("orders", ({ mirrored }) => {
      (mirrored[1]?.content as Record<string, string>).partitionkey = "k";
    });
    expectOne(event, "orders 1 (id-orders/1) differs in orders in partitionkey");
    const letter = runWith("checked", ({ letters }) => {
      (letters[0]?.content as Record<string, string>).data = "{}";
    });
    expectOne(letter, "checked 3 (id-checked/3) differs in checked-copy in data");
  });
  test("that stands in another order is found", () => {
    const run = runWith("orders", ({ mirrored }) => {
      const [one, other] = [mirrored[1], mirrored[2]] as [(typeof mirrored)[number], (typeof mirrored)[number]];
      mirrored.splice(1, 2, { ...other, offset: 1 }, { ...one, offset: 2 });
    });
    expectOne(run, "orders 2 is orders 1, behind 2");
  });
  test("has what was tried again behind what came after it, and not before what it followed", () => {
    const moved = (to: number) =>
      runWith("checked", ({ mirrored }) => {
        const [late] = mirrored.splice(5, 1) as [(typeof mirrored)[number]];
        expect(late.content.type).toBe(lateType);
        mirrored.splice(to, 0, late);
      });
    expect(violationsOf(moved(6))).toEqual([]);
    expectOne(moved(2), "is checked 2, behind 6");
  });
  test("that tells another origin is found", () => {
    const change = (origin: object) =>
      runWith("orders", ({ mirrored }) => Object.assign(mirrored[1]?.origin as object, origin));
    expectOne(change({ logId: "older" }), "orders 1 (orders 1) is of the log older");
    expectOne(change({ stream: "users" }), "orders 1 (users 1) is of another stream");
    expectOne(change({ offset: 5 }), "orders 1 (orders 5) was never to be published");
  });
  test("of a bounded stream may lack what JetStream has forgotten, and nothing else", () => {
    expect(violationsOf(runWith("recent", ({ mirrored }) => mirrored.splice(1, 1)))).toEqual([]);
    expectOne(
      runWith("recent", ({ mirrored }) => mirrored.pop()),
      "recent 7 (id-recent/7) is neither in recent nor a dead letter of it",
    );
  });
  test("whose connections or subscriptions are more than it needs is found", () => {
    const twice = rightRun();
    twice.snapshot.connections.push({ name: "svcb", subscriptions: 1 });
    expectOne(twice, "the 1 processes of svcb have 2 connections to NATS");
    const none = rightRun();
    none.snapshot.connections.shift();
    expectOne(none, "the 1 processes of svca have 0 connections to NATS");
    const leaking = rightRun();
    Object.assign(leaking.snapshot.connections[1] as object, { subscriptions: 9 });
    expectOne(leaking, "a connection of svcb to NATS has 9 subscriptions");
  });
  test("with another consumer in JetStream than its own is found", () => {
    expectOne(
      runWith("orders", ({ consumers }) => consumers.push("left-over")),
      "svca_orders has the consumers svcb_orders, left-over, not svcb_orders",
    );
  });
});

describe("a message of a stranger", () => {
  test("that is held and not mirrored is found, and one that was lost before is not", () => {
    const run = runWith("orders", ({ mirrored }) => mirrored.splice(-2, 1));
    expectOne(run, "stranger-0 is neither an event nor a dead letter");
    const lost = runWith("orders", ({ mirrored, held }) => {
      mirrored.splice(-2, 1);
      held.splice(
        held.findIndex(({ text }) => text.includes("stranger-0")),
        1,
      );
    });
    expect(violationsOf(lost)).toEqual([]);
  });
  test("that is there twice, as an event or as a dead letter, is found", () => {
    const event = runWith("orders", ({ mirrored }) => mirrored.push(mirrored.at(-1) as (typeof mirrored)[number]));
    expectOne(event, "stranger-1 (plain) is there 2 times");
    const letter = runWith("orders", ({ letters }) => letters.push(...letters));
    expectOne(letter, "stranger-2, published 1 times, has 2 dead letters");
  });
  test("that was sent twice may be refused as its own repetition, for no other reason", () => {
    const again = (reason: string) => {
      const run = rightRun();
      addStranger(run, "stranger-3", "plain", 2);
      const payload = JSON.stringify({ mark: "stranger-3" });
      const { letters } = streamOf(run, "orders");
      letters.push({ sequence: 50, reason, detail: "", attempts: 1, offset: null, content: null, payload });
      return run;
    };
    expect(violationsOf(again("event-id-conflict"))).toEqual([]);
    expectOne(again("invalid-event"), "stranger-3 is a dead letter with invalid-event");
  });
  test("that stands in another order is found", () => {
    const run = runWith("orders", ({ mirrored }) => {
      const [one, other] = mirrored.slice(-2) as [(typeof mirrored)[number], (typeof mirrored)[number]];
      [one.offset, other.offset] = [other.offset, one.offset];
    });
    expectOne(run, "has stranger-1 at 7, before stranger-0");
  });
  test("that is told as something else, or that nobody published, is found", () => {
    const changed = runWith("orders", ({ mirrored }) => {
      (mirrored.at(-2)?.content as Record<string, string>).id = "another";
    });
    expectOne(changed, "stranger-0 is there as another");
    const unknown = rightRun();
    unknown.history = unknown.history.filter((entry) => entry.kind !== "stranger-published");
    expectOne(unknown, "has a message stranger-0 that nobody published");
  });
});
