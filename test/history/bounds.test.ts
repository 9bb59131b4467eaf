// The checks of bounded followers and of lookups find what they are for, and nothing in a history that is right.
import { describe, expect, test } from "bun:test";
import { boundsWereKept } from "../crash/check/bounded.ts";
import { connectionsBeginRight, followersWereNotLost } from "../crash/check/connections.ts";
import { followersSawTheLog } from "../crash/check/followers.ts";
import { eventsAreFoundByTheirIds } from "../crash/check/lookups.ts";
import type { Entry, LookedUp } from "../crash/history.ts";
import type { LoggedEvent } from "../crash/log-snapshot.ts";
import { connected, ended, logOf, own, reader, shown } from "./doctored.ts";

const log = logOf("a", "b", "c");
const [a, b, c] = log as [LoggedEvent, LoggedEvent, LoggedEvent];
const ready = own("sluice.ready", "-1");
const over = (at: number) => connected(`end:${at}`, { status: 204 });

function check(bounds: { to?: number; limit?: number }, ...entries: Entry[]): string[] {
  const history = [reader("sse", bounds), ...entries];
  return [
    ...boundsWereKept(history),
    ...followersSawTheLog(history, log),
    ...connectionsBeginRight(history, log),
    ...followersWereNotLost(history),
  ];
}

describe("a follower with an end", () => {
  test("that is given what lies before it, is told so, and sent away, is in order", () => {
    expect(check({ to: 1 }, connected(), ready, shown(a), shown(b), ended("to", 1), over(1))).toEqual([]);
    expect(
      check(
        { to: 1 },
        connected(),
        ready,
        shown(a),
        connected("0"),
        own("sluice.ready", "0"),
        shown(b),
        ended("to", 1),
      ),
    ).toEqual([]);
    expect(check({ to: 7 }, connected(), ready, shown(a))).toEqual([]);
  });
  test("that is given less or more is found", () => {
    expect(check({ to: 1 }, connected(), ready, shown(a), ended("to", 1))).toHaveLength(1);
    expect(check({ to: 1 }, connected(), ready, shown(b), ended("to", 1))).toHaveLength(1);
    expect(check({ to: 1 }, connected(), ready, shown(a), shown(b), shown(c)).length).toBeGreaterThan(0);
  });
  test("that is told another end, or one that nobody asked for, is found", () => {
    expect(check({ to: 1 }, connected(), ready, shown(a), shown(b), ended("to", 2)).length).toBeGreaterThan(0);
    expect(check({ to: 1 }, connected(), ready, shown(a), shown(b), ended("limit", 1))).toHaveLength(1);
    expect(check({}, connected(), ready, shown(a), shown(b), shown(c), ended("to", 1)).length).toBeGreaterThan(0);
  });
  test("that goes on behind its end is found", () => {
    const end = [connected(), ready, shown(a), shown(b), ended("to", 1)];
    expect(check({ to: 1 }, ...end, own(null, "1")).length).toBeGreaterThan(0);
    expect(check({ to: 1 }, ...end, connected("end:1"), own("sluice.ready", "1")).length).toBeGreaterThan(0);
    expect(check({ to: 1 }, ...end, over(1), connected("end:1", { status: 204 }))).toHaveLength(1);
  });
  test("that is sent away without having been told is found", () => {
    expect(check({ to: 1 }, connected(), ready, shown(a), connected("0", { status: 204 })).length).toBeGreaterThan(0);
  });
});

describe("a follower with a limit", () => {
  test("that is given so many events on a connection is in order", () => {
    expect(check({ limit: 2 }, connected(), ready, shown(a), shown(b), ended("limit", 1), over(1))).toEqual([]);
    const again = [connected("0"), own("sluice.ready", "0"), shown(b), shown(c), ended("limit", 2)];
    expect(check({ limit: 2 }, connected(), ready, shown(a), ...again)).toEqual([]);
    expect(check({ limit: 2, to: 0 }, connected(), ready, shown(a), ended("to", 0))).toEqual([]);
  });
  test("that is given less or more, or is told another end, is found", () => {
    expect(check({ limit: 2 }, connected(), ready, shown(a), ended("limit", 0))).toHaveLength(1);
    expect(check({ limit: 1 }, connected(), ready, shown(a), shown(b)).length).toBeGreaterThan(0);
    expect(check({ limit: 2 }, connected(), ready, shown(a), shown(b), ended("limit", 2)).length).toBeGreaterThan(0);
    expect(check({ limit: 1 }, connected(), ready, shown(a), ended("to", 0))).toHaveLength(1);
  });
});

describe("an event that is looked up by its id", () => {
  const lookup = (given: Partial<LookedUp>): LookedUp => ({
    ...{ kind: "looked-up", at: 1, stream: "s", id: "id-b", offset: 1, status: 200, first: b },
    ...given,
  });
  test("and found, or not looked for because of an outage, is in order", () => {
    expect(
      eventsAreFoundByTheirIds([
        lookup({}),
        lookup({ status: 503, first: null }),
        lookup({ status: null, first: null }),
      ]),
    ).toEqual([]);
  });
  test("and not found, or another one, is found", () => {
    expect(eventsAreFoundByTheirIds([lookup({ status: 400, first: null })])).toHaveLength(1);
    expect(eventsAreFoundByTheirIds([lookup({ first: null })])).toHaveLength(1);
    expect(eventsAreFoundByTheirIds([lookup({ first: c })])).toHaveLength(1);
  });
});
