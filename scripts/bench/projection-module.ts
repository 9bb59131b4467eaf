// A projection that counts orders, for the measurement of projections.
import { defineEvent, defineModule, defineProjection, Type } from "../../src/workflow/index.ts";

const OrderPlaced = defineEvent("OrderPlaced", Type.Object({ customer: Type.String(), amount: Type.Number() }));

const orderCounts = defineProjection("order-counts", {
  row: Type.Object({ customer: Type.String(), orders: Type.Integer(), amount: Type.Number() }),
  key: "customer",
  initial: { orders: 0, amount: 0 },
}).on(OrderPlaced, {
  key: ({ customer }) => customer,
  apply: (row, { amount }) => ({ ...row, orders: row.orders + 1, amount: row.amount + amount }),
});

export default defineModule({ name: "bench", events: [OrderPlaced], projections: [orderCounts] });
