// The samples' deciders, by specifications: what an order, an invitation or a stock comes to.
import { test } from "bun:test";
import {
  inventory,
  PaymentAuthorized,
  PaymentVoided,
  payment,
  StockReceived,
  StockReleased,
  StockReserved,
} from "../../src/samples/fulfillment.ts";
import { InvitationAccepted, InvitationSent, invitation } from "../../src/samples/invitations.ts";
import { OrderCancelled, OrderShipped, OrderSubmitted, order } from "../../src/samples/orders.ts";
import { given } from "../../src/workflow/testing.ts";

const sent = (invitationId: string) =>
  InvitationSent.event(
    { invitationId, email: `${invitationId}@example.com`, invitedBy: "bob", validForSeconds: 604_800 },
    { subject: invitationId, partitionKey: invitationId },
  );
const accepted = (invitationId: string) =>
  InvitationAccepted.event(
    { invitationId, email: `${invitationId}@example.com` },
    { subject: invitationId, partitionKey: invitationId },
  );
const lines = [{ sku: "tea", quantity: 2, price: 4.5 }];
const submitted = OrderSubmitted.event({ orderId: "o-1", customer: "Ada", lines });

test("of an id one invitation is open at a time, and one that was answered is over", () => {
  const invite = { invitationId: "a", email: "a@example.com", invitedBy: "bob" };
  given(invitation)
    .when("invite", invite)
    .then([sent("a")])
    .thenState({ open: { email: "a@example.com", sentAt: 0 } });
  given(invitation, [sent("a")])
    .when("invite", { ...invite, email: "b@example.com" })
    .thenRejects("There is an open invitation already", { email: "a@example.com" });
  given(invitation, [sent("a")])
    .when("accept-invitation", { invitationId: "a" })
    .then([accepted("a")]);
  const answered = given(invitation, [sent("a"), accepted("a")]);
  answered.when("decline-invitation", { invitationId: "a" }).thenRejects(/no open invitation/);
  answered.when("expire-invitation", { invitationId: "a", sentAt: 0 }).then([]);
  answered.thenState({ open: null });
});

test("the end of an invitation is not that of a later one of the same id", () => {
  const again = given(invitation, [sent("a"), accepted("a"), sent("a")]);
  again.when("expire-invitation", { invitationId: "a", sentAt: 0 }).then([]);
  again.when("expire-invitation", { invitationId: "a", sentAt: 2 }).thenState({ open: null });
});

test("an id is a name like any other, whatever objects have members of that name", () => {
  for (const id of ["constructor", "toString", "__proto__"]) {
    given(inventory)
      .when("reserve-stock", { sku: "tea", orderId: id, quantity: 1 })
      .then([StockReserved.event({ orderId: id, quantity: 1 })]);
    given(inventory).when("release-stock", { sku: "tea", orderId: id }).then([]);
  }
});

test("what is put aside for an order is not given to another saga of the same order, nor taken from the first", () => {
  const reserved = StockReserved.event({ orderId: "o-1", quantity: 2 });
  const stock = given(inventory, [StockReceived.event({ quantity: 3 }), reserved]);
  stock.when("reserve-stock", { sku: "tea", orderId: "o-1", quantity: 1 }).thenRejects(/put aside/);
  stock.when("reserve-stock", { sku: "tea", orderId: "o-2", quantity: 2 }).thenRejects(/not enough/);
  stock
    .when("release-stock", { sku: "tea", orderId: "o-1" })
    .then([StockReleased.event({ orderId: "o-1", quantity: 2 })])
    .thenState({ free: 3, isCounted: true, reserved: {} });
});

test("a payment is authorized once, and given back only if it was", () => {
  const authorized = PaymentAuthorized.event({ orderId: "o-1", amount: 9 });
  given(payment).when("authorize-payment", { orderId: "o-1", amount: 9 }).then([authorized]);
  given(payment)
    .when("authorize-payment", { orderId: "o-1", amount: 9, simulatePaymentFailure: true })
    .thenRejects("The payment was declined");
  given(payment, [authorized])
    .when("authorize-payment", { orderId: "o-1", amount: 9 })
    .thenRejects(/paid already/);
  given(payment).when("void-payment", { orderId: "o-1" }).then([]);
  given(payment, [authorized])
    .when("void-payment", { orderId: "o-1" })
    .then([PaymentVoided.event({ orderId: "o-1" })]);
});

test("an order is submitted, then shipped or cancelled, and nothing after that", () => {
  given(order)
    .when("submit-order", { orderId: "o-1", customer: "Ada", lines })
    .then([submitted])
    .thenResult({ total: 9 });
  given(order)
    .when("ship-order", { orderId: "o-1", trackingId: "t" })
    .thenRejects(/unknown/);
  const shipped = OrderShipped.event({ trackingId: "t" });
  given(order, [submitted]).when("ship-order", { orderId: "o-1", trackingId: "t" }).then([shipped]);
  given(order, [submitted, shipped])
    .when("cancel-order", { orderId: "o-1", reason: "late" })
    .thenRejects(/shipped/);
  const cancelled = OrderCancelled.event({ reason: "late" });
  given(order, [submitted, cancelled]).when("cancel-order", { orderId: "o-1", reason: "later" }).then([]);
});
