// Sample: orders, each a decider on a stream of its own.
import { defineDecider, defineEvent, defineModule, reject, Type } from "../workflow/index.ts";

export const orderId = Type.String({ pattern: "^[A-Za-z0-9._-]{1,100}$" });
const sku = Type.String({ pattern: "^[A-Za-z0-9._-]{1,100}$" });
const quantity = Type.Integer({ minimum: 1, maximum: 1_000_000 });
const lines = Type.Array(Type.Object({ sku, quantity, price: Type.Number({ minimum: 0 }) }), {
  minItems: 1,
  maxItems: 100,
});

export const OrderSubmitted = defineEvent(
  "OrderSubmitted",
  Type.Object({ orderId, customer: Type.String({ minLength: 1, maxLength: 200 }), lines }),
  { description: "A customer has ordered" },
);
export const OrderLineAdded = defineEvent(
  "OrderLineAdded",
  Type.Object({ sku, quantity, price: Type.Number({ minimum: 0 }) }),
  { description: "Something more belongs to the order" },
);
export const OrderShipped = defineEvent("OrderShipped", Type.Object({ trackingId: Type.String() }), {
  description: "The order has left the house",
});
export const OrderCancelled = defineEvent(
  "OrderCancelled",
  Type.Object({ reason: Type.String({ maxLength: 1_000 }) }),
  {
    description: "Nothing comes of the order",
  },
);

const state = Type.Object({
  status: Type.Union([
    Type.Literal("unknown"),
    Type.Literal("submitted"),
    Type.Literal("shipped"),
    Type.Literal("cancelled"),
  ]),
  lines: Type.Integer(),
  total: Type.Number(),
});

/** What the lines cost together, in cents' precision. */
const costOf = (list: readonly { quantity: number; price: number }[]) =>
  Math.round(list.reduce((sum, line) => sum + line.quantity * line.price, 0) * 100) / 100;

export const order = defineDecider("order", {
  description: "An order from its submission until it is shipped or cancelled",
  state,
  initialState: { status: "unknown", lines: 0, total: 0 },
})
  .on(OrderSubmitted, (_, { lines: submitted }) => ({
    status: "submitted",
    lines: submitted.length,
    total: costOf(submitted),
  }))
  .on(OrderLineAdded, (before, line) => ({
    ...before,
    lines: before.lines + 1,
    total: Math.round((before.total + costOf([line])) * 100) / 100,
  }))
  .on(OrderShipped, (before) => ({ ...before, status: "shipped" }))
  .on(OrderCancelled, (before) => ({ ...before, status: "cancelled" }))
  .command("submit-order", {
    description: "Submits an order",
    body: Type.Object({ orderId, customer: Type.String({ minLength: 1, maxLength: 200 }), lines }),
    result: Type.Object({ total: Type.Number() }),
    id: (body) => body.orderId,
    decide({ status }, body) {
      if (status !== "unknown") reject("There is an order of this id", { orderId: body.orderId, status });
      return { events: [OrderSubmitted.event(body)], result: { total: costOf(body.lines) } };
    },
  })
  .command("add-order-line", {
    description: "Adds to an order that is not shipped yet",
    body: Type.Object({ orderId, sku, quantity, price: Type.Number({ minimum: 0 }) }),
    id: (body) => body.orderId,
    decide({ status }, { orderId: id, ...line }) {
      if (status !== "submitted") reject(`The order is ${status}`, { orderId: id, status });
      return OrderLineAdded.event(line);
    },
  })
  .command("ship-order", {
    description: "Ships an order",
    body: Type.Object({ orderId, trackingId: Type.String({ minLength: 1, maxLength: 200 }) }),
    id: (body) => body.orderId,
    decide({ status }, { orderId: id, trackingId }) {
      if (status !== "submitted") reject(`The order is ${status}`, { orderId: id, status });
      return OrderShipped.event({ trackingId });
    },
  })
  .command("cancel-order", {
    description: "Cancels an order that is not shipped; cancelling it again changes nothing",
    body: Type.Object({ orderId, reason: Type.String({ minLength: 1, maxLength: 1_000 }) }),
    id: (body) => body.orderId,
    decide({ status }, { orderId: id, reason }) {
      if (status === "cancelled") return [];
      if (status !== "submitted") reject(`The order is ${status}`, { orderId: id, status });
      return OrderCancelled.event({ reason });
    },
  });

export default defineModule({
  name: "orders",
  events: [OrderSubmitted, OrderLineAdded, OrderShipped, OrderCancelled],
  deciders: [order],
});
