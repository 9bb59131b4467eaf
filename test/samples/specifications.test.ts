// The samples' projections and sagas, by specifications: what is counted, and what an order or an invitation comes to.
import { test } from "bun:test";
import { orderFulfillment } from "../../src/samples/fulfillment.ts";
import { invitationExpiry } from "../../src/samples/invitations.ts";
import { UserRegistered, UserRemoved, userStatistics } from "../../src/samples/users.ts";
import { reject } from "../../src/workflow/index.ts";
import { given } from "../../src/workflow/testing.ts";

const registered = (userId: string) =>
  UserRegistered.event({ userId, name: userId, email: `${userId}@example.com` }, { time: "2026-11-21T10:00:00.000Z" });

test("a user counts once, also one who is removed twice or never was", () => {
  const row = { registeredOn: "2026-11-21", isActive: true };
  given(userStatistics, [registered("ada"), registered("bob")]).thenRows([
    { userId: "ada", ...row },
    { userId: "bob", ...row },
  ]);
  const removed = UserRemoved.event({ userId: "ada" });
  given(userStatistics, [registered("ada"), removed, removed, UserRemoved.event({ userId: "nobody" })]).thenRows([
    { userId: "ada", ...row, isActive: false },
  ]);
});

test("an order is reserved, paid and sent, and undone in reverse where a step is refused", async () => {
  const order = { orderId: "o-1", sku: "tea", quantity: 2, amount: 9 };
  const reserved = ["reserve-stock", { sku: "tea", orderId: "o-1", quantity: 2 }] as const;
  const authorized = ["authorize-payment", { orderId: "o-1", amount: 9, simulatePaymentFailure: false }] as const;
  const sent = ["send-shipment", { orderId: "o-1", trackingId: "track-000000000000" }] as const;
  (await given(orderFulfillment, order).run()).thenState("Completed").thenRan([reserved, authorized, sent]);
  const commands = { "send-shipment": () => reject("It is on its way already") };
  (await given(orderFulfillment, order, { commands }).run())
    .thenState("Compensated")
    .thenError("It is on its way already")
    .thenCompensated(["authorize-payment", "reserve-inventory"])
    .thenRan([
      reserved,
      authorized,
      sent,
      ["void-payment", { orderId: "o-1" }],
      ["release-stock", { sku: "tea", orderId: "o-1" }],
    ]);
});

test("an invitation ends when its time is over, and no sooner", async () => {
  const expiry = given(
    invitationExpiry,
    { invitationId: "i", sentAt: 3, expiresAt: "2026-11-21T10:00:00Z" },
    { at: "2026-11-20T10:00:00Z" },
  );
  (await expiry.whenPassed("23h").run()).thenState("Running", "until-it-expires").thenRan([]);
  (await expiry.whenPassed("24h").run())
    .thenState("Completed")
    .thenRan([["expire-invitation", { invitationId: "i", sentAt: 3 }]]);
});
