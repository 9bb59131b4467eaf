// The checks of invariant 2, 3, 5 and 12 find what they are for, and nothing in a history that is right.
import { describe, expect, test } from "bun:test";
import { connectionsBeginRight, followersWereNotLost } from "../crash/check/connections.ts";
import { followersSawTheLog } from "../crash/check/followers.ts";
import { replaysEqualLog, rowsAreGapless, timesNeverRunBack } from "../crash/check/order.ts";
import { walksArePrefixes } from "../crash/check/reads.ts";
import { nothingIsLeft } from "../crash/check/rest.ts";
import { defectsLogged } from "../crash/check/service-log.ts";
import type { Entry } from "../crash/history.ts";
import type { LoggedEvent } from "../crash/log-snapshot.ts";
import { acknowledged, connected, logged, logOf, own, page, reader, shown, snapshot } from "./doctored.ts";

const log = logOf("a", "b", "c");
const [a, b, c] = log as [LoggedEvent, LoggedEvent, LoggedEvent];
const row = (position: number, stream: string, offset: number) => ({ position, stream, offset, purged: false });

describe("the table", () => {
  test("without gaps is in order", () => {
    expect(rowsAreGapless([row(0, "s", 0), row(1, "t", 0), row(2, "s", 1)])).toEqual([]);
  });
  test("with a gap, a repetition or a missing beginning is found", () => {
    expect(rowsAreGapless([row(0, "s", 0), row(2, "s", 1)])).toHaveLength(1);
    expect(rowsAreGapless([row(0, "s", 0), row(1, "s", 0)])).toHaveLength(1);
    expect(rowsAreGapless([row(0, "s", 1)])).toHaveLength(1);
    expect(rowsAreGapless([row(1, "s", 0)])).toHaveLength(1);
  });
  test("of a run that does not begin with the log begins where it was told", () => {
    expect(rowsAreGapless([row(5, "s", 0), row(6, "s", 1)], 5)).toEqual([]);
    expect(rowsAreGapless([row(6, "s", 0)], 5)).toHaveLength(1);
  });
  test("and the replays of the log and of a stream are the same", () => {
    const replayed = (events: LoggedEvent[], ofStream: LoggedEvent[] | null = events) =>
      replaysEqualLog(snapshot(log, { events, streams: new Map([["s", ofStream]]) }));
    expect(replayed(log)).toEqual([]);
    expect(replayed([a, c], log)).toHaveLength(1);
    expect(replayed(log, [a, b])).toHaveLength(1);
    expect(replayed(log, [a, b, { ...c, hash: "x" }])).toHaveLength(1);
    expect(replayed(log, null).length).toBeGreaterThan(0);
  });
  test("has times that never run back", () => {
    expect(timesNeverRunBack(log)).toEqual([]);
    expect(timesNeverRunBack([b, a])).toHaveLength(1);
  });
});

describe("a walk", () => {
  const walk = (...pages: Entry[]) => walksArePrefixes([reader("json"), ...pages], log);
  test("that shows the log page by page is in order", () => {
    expect(walk(page([a]), page([b, c], { last: true }))).toEqual([]);
    expect(walk(page([a, b]))).toEqual([]);
  });
  test("that skips, repeats, or shows another envelope is found", () => {
    expect(walk(page([a]), page([c]))).toHaveLength(1);
    expect(walk(page([a, b]), page([b, c]))).toHaveLength(1);
    expect(walk(page([a, { ...b, hash: "x" }]))).toHaveLength(1);
  });
  test("that ends before what had been acknowledged is found", () => {
    const acks = acknowledged("c", 2, { from: 0, to: 1 });
    const early = page([a, b], { last: true, invokedAt: 0.5 });
    const late = page([a, b], { last: true, invokedAt: 2 });
    expect(walk(...acks, early)).toEqual([]);
    expect(walk(...acks, late)).toHaveLength(1);
  });
  test("sees what its filter lets through", () => {
    const mixed = [logged("a", 0, { n: 9 }), logged("b", 1, { n: 1 }), logged("c", 2, { n: 9, type: "Closed" })];
    const asked = reader("json", { above: 5, types: ["Opened"] });
    expect(walksArePrefixes([asked, page(mixed.slice(0, 1), { last: true })], mixed)).toEqual([]);
    expect(walksArePrefixes([asked, page(mixed.slice(0, 2))], mixed)).toHaveLength(1);
  });
});

describe("a follower", () => {
  const follow = (...frames: Entry[]) => followersSawTheLog([reader("sse"), connected(), ...frames], log);
  const ready = own("sluice.ready", "-1");
  test("that saw everything once, over two connections, is in order", () => {
    expect(
      follow(ready, shown(a), connected("0"), own("sluice.ready", "0"), shown(b), shown(c), own(null, "2")),
    ).toEqual([]);
  });
  test("that began in the middle owes nothing to what was before", () => {
    expect(follow(own("sluice.ready", "1"), shown(c))).toEqual([]);
  });
  test("that missed, repeated, mixed up or never finished is found", () => {
    expect(follow(ready, shown(a), shown(c))).toHaveLength(1);
    expect(follow(ready, shown(a), shown(b), shown(b), shown(c)).length).toBeGreaterThan(0);
    expect(follow(ready, shown(b), shown(a), shown(c)).length).toBeGreaterThan(0);
    expect(follow(ready, shown(a), shown(b))).toHaveLength(1);
    expect(follow()).toHaveLength(1);
  });
  test("whose cursor passed an event before it was shown, or went back, is found", () => {
    expect(follow(ready, shown(a), own(null, "1"), shown(b), shown(c))).toHaveLength(1);
    expect(follow(ready, shown(a), shown(b), own(null, "0"), shown(c))).toHaveLength(1);
  });
  test("that saw other bytes than a replay, or another id, is found", () => {
    expect(follow(ready, shown(a), shown(b, { event: { ...b, hash: "x" } }), shown(c))).toHaveLength(1);
    expect(follow(ready, shown(a), shown(b, { id: "2" }), shown(c)).length).toBeGreaterThan(0);
  });
});

describe("a connection", () => {
  const begin = (...entries: Entry[]) => connectionsBeginRight([reader("sse"), ...entries], log);
  test("that resumes where the reader stands is in order", () => {
    expect(begin(connected(), own("sluice.ready", "-1"), connected("0"), own("sluice.ready", "0"))).toEqual([]);
  });
  test("that resumes elsewhere, or is refused, is found", () => {
    expect(begin(connected("0"), own("sluice.ready", "1"))).toHaveLength(1);
    expect(begin(connected(), own("sluice.ready", "1"))).toHaveLength(1);
    expect(begin(connected(null, { status: 503 }))).toHaveLength(1);
  });
  test("that begins at the latest event, but before what had been acknowledged, is found", () => {
    const acks = acknowledged("b", 1, { from: 0, to: 1 });
    const latest = reader("sse", { from: "latest" });
    const start = (id: string) => [latest, ...acks, connected(null, { invokedAt: 2 }), own("sluice.ready", id)];
    expect(connectionsBeginRight(start("1"), log)).toEqual([]);
    expect(connectionsBeginRight(start("2"), log)).toEqual([]);
    expect(connectionsBeginRight(start("0"), log)).toHaveLength(1);
  });
  test("that tells of a gap, another history or an end is found", () => {
    expect(followersWereNotLost([own("sluice.ready", "0"), own("sluice.end", null)])).toEqual([]);
    const lost = [own("sluice.gap", "3"), own("sluice.reset", null), own("sluice.end", "end:4")];
    expect(followersWereNotLost(lost)).toHaveLength(3);
  });
});

test("what is left of a service after its clients is counted", () => {
  const limits = { rssBytes: 600e6, sockets: 10, databaseConnections: 5 };
  const clean = {
    service: 0,
    open: { "event streams": 0, "waiting claims": 0 },
    rssBytes: 1e8,
    sockets: 9,
    databaseConnections: 5,
  };
  expect(nothingIsLeft([clean], limits)).toEqual([]);
  const open = { "event streams": 1, "waiting claims": 2, "live connections": Number.NaN };
  const dirty = { service: 1, open, rssBytes: 7e8, sockets: 11, databaseConnections: 6 };
  expect(nothingIsLeft([clean, dirty], limits)).toHaveLength(6);
});

test("a defect in a service's log is found once, and an outage of the database is none", () => {
  const line = (msg: string) => `${JSON.stringify({ level: "error", msg, err: { message: "why" } })}\n`;
  expect(defectsLogged(0, `the database is starting up\n${line("append failed")}`)).toEqual([]);
  expect(defectsLogged(0, line("unhandled rejection") + line("unhandled rejection"))).toHaveLength(1);
  const twice = JSON.stringify({
    level: "warn",
    msg: "append failed",
    err: { message: "there already", code: "23505" },
  });
  expect(defectsLogged(0, `${twice}\n`)).toEqual(["service 0 logged: append failed: there already"]);
});
