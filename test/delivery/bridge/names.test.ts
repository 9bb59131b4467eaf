// Names in NATS: whatever a stream or a type is called, NATS takes them.
import { expect, test } from "bun:test";
import {
  defaultNaming,
  isStreamPattern,
  isSubjectPattern,
  namesOf,
  sanitise,
  subjectFilter,
  subjectOf,
} from "../../../src/stream/cross-service/names.ts";

test("what NATS refuses becomes _, one character for one", () => {
  expect(sanitise("a b.c*d>e/f\\g\th")).toBe("a_b_c_d_e_f_g_h");
  expect(sanitise("Größe:x-1_")).toBe("Größe:x-1_");
  expect(sanitise("a\u00a0b\u0085\ud800")).toBe("a_b__");
});

test("the names of a stream follow the patterns of the service, or its own", () => {
  const naming = defaultNaming("svca");
  expect(namesOf("users.eu", naming)).toEqual({ stream: "svca_users_eu", subject: "svca.users_eu.{type}" });
  const own = namesOf("users", naming, { stream: "all-{stream}", subject: "x.{service}" });
  expect(own).toEqual({ stream: "all-users", subject: "x.svca" });
  expect(subjectOf("svca.users.{type}", "User Created.v2")).toBe("svca.users.User_Created_v2");
  expect(subjectOf("x.svca", "A")).toBe("x.svca");
  expect(subjectFilter("svca.users.{type}")).toBe("svca.users.*");
  expect(subjectFilter("x.svca")).toBe("x.svca");
});

test("names stand in patterns as they are, whatever they look like", () => {
  const naming = defaultNaming("$&{stream}$1");
  expect(namesOf("$`{service}$'", naming)).toEqual({
    stream: "$&{stream}$1_$`{service}$'",
    subject: "$&{stream}$1.$`{service}$'.{type}",
  });
});

test("a name that is too long is cut, and two of them stay two", () => {
  const naming = defaultNaming("s".repeat(63));
  const [one, other] = [namesOf(`${"a".repeat(199)}b`, naming).stream, namesOf(`${"a".repeat(199)}c`, naming).stream];
  expect([one.length, other.length]).toEqual([255, 255]);
  expect(one).not.toBe(other);
});

test("patterns that NATS would not take are none", () => {
  for (const pattern of ["", "a.b", "a b", "a*", "{type}", "{other}", "x".repeat(401)])
    expect(isStreamPattern(pattern)).toBe(false);
  for (const pattern of ["", ".a", "a.", "a..b", "a.*", "a.>", "{type}", "a.{type}.b", "a.b{type}", "$JS.{type}"])
    expect(isSubjectPattern(pattern)).toBe(false);
});
