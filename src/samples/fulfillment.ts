// Sample: the fulfilment of an order, as a saga: its goods are reserved, its payment is authorized, it is shipped.
import { defineDecider, defineEvent, defineModule, defineSaga, reject, Type } from "../workflow/index.ts";

const orderId = Type.String({ pattern: "^[A-Za-z0-9._-]{1,100}$" });
const sku = Type.String({ pattern: "^[A-Za-z0-9._-]{1,100}$" });
const quantity = Type.Integer({ minimum: 1, maximum: 1_000_000 });
const amount = Type.Number({ minimum: 0 });

export const StockReceived = defineEvent("StockReceived", Type.Object({ quantity }));
export const StockReserved = defineEvent("StockReserved", Type.Object({ orderId, quantity }));
export const StockReleased = defineEvent("StockReleased", Type.Object({ orderId, quantity }));

export const inventory = defineDecider("inventory", {
  description: "The stock of one article, and what of it is put aside for orders",
  // An article of which nothing was ever received is not counted: there is always enough of it.
  state: Type.Object({
    free: Type.Integer(),
    isCounted: Type.Boolean(),
    reserved: Type.Record(Type.String(), quantity),
  }),
  initialState: { free: 0, isCounted: false, reserved: {} },
})
  .on(StockReceived, (stock, received) => ({ ...stock, free: stock.free + received.quantity, isCounted: true }))
  .on(StockReserved, (stock, put) => ({
    ...stock,
    free: stock.free - put.quantity,
    reserved: { ...stock.reserved, [put.orderId]: put.quantity },
  }))
  .on(StockReleased, (stock, back) => {
    const { [back.orderId]: _, ...reserved } = stock.reserved;
    return { ...stock, free: stock.free + back.quantity, reserved };
  })
  .command("receive-stock", {
    description: "More of an article has come",
    body: Type.Object({ sku, quantity }),
    id: (body) => body.sku,
    decide: (_, received) => StockReceived.event({ quantity: received.quantity }),
  })
  .command("reserve-stock", {
    description: "Puts some of an article aside for an order",
    body: Type.Object({ sku, orderId, quantity }),
    id: (body) => body.sku,
    decide({ free, isCounted, reserved }, body) {
      // Whoever asks a second time under the key of the first has the first answer; anybody else has no part in what is put aside.
      if (Object.hasOwn(reserved, body.orderId))
        reject("Some of it is put aside for the order", { orderId: body.orderId });
      if (isCounted && free < body.quantity)
        reject(`There is not enough of ${body.sku}`, { sku: body.sku, free, wanted: body.quantity });
      return StockReserved.event({ orderId: body.orderId, quantity: body.quantity });
    },
  })
  .command("release-stock", {
    description: "Puts back what was put aside for an order; nothing, if nothing was",
    body: Type.Object({ sku, orderId }),
    id: (body) => body.sku,
    decide({ reserved }, body) {
      const put = Object.hasOwn(reserved, body.orderId) ? reserved[body.orderId] : undefined;
      return put === undefined ? [] : StockReleased.event({ orderId: body.orderId, quantity: put });
    },
  });

export const PaymentAuthorized = defineEvent("PaymentAuthorized", Type.Object({ orderId, amount }));
export const PaymentVoided = defineEvent("PaymentVoided", Type.Object({ orderId }));

export const payment = defineDecider("payment", {
  description: "The payment of one order",
  state: Type.Object({
    status: Type.Union([Type.Literal("none"), Type.Literal("authorized"), Type.Literal("voided")]),
  }),
  initialState: { status: "none" },
})
  .on(PaymentAuthorized, () => ({ status: "authorized" }))
  .on(PaymentVoided, () => ({ status: "voided" }))
  .command("authorize-payment", {
    description: "Authorizes the payment of an order; `simulatePaymentFailure` declines it",
    body: Type.Object({ orderId, amount, simulatePaymentFailure: Type.Optional(Type.Boolean()) }),
    id: (body) => body.orderId,
    decide({ status }, body) {
      if (body.simulatePaymentFailure === true) reject("The payment was declined", { orderId: body.orderId });
      if (status === "authorized") reject("The order is paid already", { orderId: body.orderId });
      return PaymentAuthorized.event({ orderId: body.orderId, amount: body.amount });
    },
  })
  .command("void-payment", {
    description: "Gives an authorized payment back; nothing, if none is",
    body: Type.Object({ orderId }),
    id: (body) => body.orderId,
    decide: ({ status }, body) => (status === "authorized" ? PaymentVoided.event({ orderId: body.orderId }) : []),
  });

export const ShipmentSent = defineEvent("ShipmentSent", Type.Object({ orderId, trackingId: Type.String() }));

export const shipment = defineDecider("shipment", {
  description: "The shipment of one order",
  state: Type.Object({ isSent: Type.Boolean() }),
  initialState: { isSent: false },
})
  .on(ShipmentSent, () => ({ isSent: true }))
  .command("send-shipment", {
    description: "Sends the goods of an order",
    body: Type.Object({ orderId, trackingId: Type.String({ minLength: 1, maxLength: 100 }) }),
    id: (body) => body.orderId,
    decide({ isSent }, body) {
      if (isSent) reject("It is on its way already", { orderId: body.orderId });
      return ShipmentSent.event(body);
    },
  });

const input = Type.Object({
  orderId,
  sku: Type.Optional(sku),
  quantity: Type.Optional(quantity),
  amount: Type.Optional(amount),
  simulatePaymentFailure: Type.Optional(Type.Boolean()),
});

// Each step runs a command, whose idempotency key follows from the step. So a process that dies between what a step has done and
// the record of it does no harm: whoever goes on runs the command again, and is told what it came to the first time.
export const orderFulfillment = defineSaga("order-fulfillment", {
  description: "Reserves the goods of an order, authorizes its payment, and ships it",
  input,
  data: Type.Object({
    orderId,
    sku,
    quantity,
    amount,
    simulatePaymentFailure: Type.Boolean(),
    trackingId: Type.Optional(Type.String()),
  }),
  start: (started) => ({
    orderId: started.orderId,
    sku: started.sku ?? "standard",
    quantity: started.quantity ?? 1,
    amount: started.amount ?? 0,
    simulatePaymentFailure: started.simulatePaymentFailure ?? false,
  }),
  deadline: "1h",
})
  .step("reserve-inventory", {
    execute: async (data, { run }) => {
      await run(inventory, "reserve-stock", { sku: data.sku, orderId: data.orderId, quantity: data.quantity });
    },
    compensate: async (data, { run }) => {
      await run(inventory, "release-stock", { sku: data.sku, orderId: data.orderId });
    },
  })
  .step("authorize-payment", {
    execute: async (data, { run }) => {
      const { orderId: id, amount: asked, simulatePaymentFailure } = data;
      await run(payment, "authorize-payment", { orderId: id, amount: asked, simulatePaymentFailure });
    },
    compensate: async (data, { run }) => {
      await run(payment, "void-payment", { orderId: data.orderId });
    },
  })
  .step("ship-order", {
    execute: async (data, { run, sagaId }) => {
      const trackingId = `track-${sagaId.slice(-12)}`;
      await run(shipment, "send-shipment", { orderId: data.orderId, trackingId });
      return { trackingId };
    },
  });

export default defineModule({
  name: "fulfillment",
  events: [StockReceived, StockReserved, StockReleased, PaymentAuthorized, PaymentVoided, ShipmentSent],
  deciders: [inventory, payment, shipment],
  sagas: [orderFulfillment],
});
