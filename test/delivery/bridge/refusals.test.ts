// What NATS refuses, in sentences: the same for each try, and each thing said once.
import { expect, test } from "bun:test";
import { JetStreamError, NatsUnavailable } from "../../../src/delivery/bridge/jetstream.ts";
import { reasonOf, sentenceOf, toldOf, unquoted } from "../../../src/delivery/bridge/refusals.ts";

const mayNot = (operation: string, subject: string) => sentenceOf({ operation, subject }, "_INBOX_svca");
const coded = (code: string, message = code) => Object.assign(new Error(message), { code });

test("an account's refusal names the subject, without what is another at each try", () => {
  expect(mayNot("publish", "svca.users.A")).toBe("the account may not publish on svca.users.A");
  expect(mayNot("publish", "$JS.ACK.users.svcb_users.1.7.7.1690000000000000000.0")).toBe(
    "the account may not publish on $JS.ACK.users.svcb_users.>",
  );
  expect(mayNot("publish", "$JS.ACK.hub.A1B2.users.svcb_users.1.7.7.1690000000000000000.0.x")).toBe(
    "the account may not publish on $JS.ACK.hub.A1B2.users.svcb_users.>",
  );
  expect(mayNot("subscription", "_INBOX_svca.LUA3SPAQQDWH9KNZ.*")).toBe(
    "the account may not subscribe to _INBOX_svca.…: NATS_INBOX_PREFIX names the inbox it may use",
  );
  expect(mayNot("subscription", "svca.>")).toBe("the account may not subscribe to svca.>");
});

test("a subject is read as it was before the server quoted it", () => {
  for (const [quoted, subject] of [
    ["svca.a.Plain", "svca.a.Plain"],
    ['svca.a.\\"Z\\"', 'svca.a."Z"'],
    ["svca.a.\\u200bZ", "svca.a.\u200bZ"],
    ["svca.a.\\x80", "svca.a.\\x80"],
  ] as const)
    expect(unquoted({ operation: "publish", subject: quoted })).toEqual({ operation: "publish", subject });
});

test("why there is no connection is told in words", () => {
  const servers = ["tls://nats:4222"];
  const why = (error: unknown, isEncrypted = false) =>
    reasonOf(error, { servers, tls: isEncrypted ? { caFile: null, certFile: null, keyFile: null } : null });
  expect(why(coded("AUTHORIZATION_VIOLATION", "'Authorization Violation'"))).toBe("Authorization Violation");
  expect(why(coded("CONNECTION_REFUSED"))).toBe("Connection refused");
  expect(why(coded("SERVER_OPT_NA", "tls"))).toBe("the server offers no TLS");
  expect(why(coded("TIMEOUT"))).toBe("tls://nats:4222 did not answer in time");
  expect(why(coded("TIMEOUT"), true)).toContain("refused the certificate");
  expect(why("the connection was closed")).toBe("the connection was closed");
});

test("the log has the sentence of a refusal, and where a defect comes from", () => {
  const cause = new Error("the account may not");
  expect(toldOf(new JetStreamError(1, "the account may not", { cause }))).toEqual({ reason: "the account may not" });
  expect(toldOf(new NatsUnavailable("nobody answers", { cause }))).toEqual({ reason: "nobody answers" });
  expect(toldOf("nothing is heard")).toEqual({ reason: "nothing is heard" });
  const defect = new TypeError("undefined is not an object");
  expect(toldOf(defect)).toEqual({ err: defect });
});
