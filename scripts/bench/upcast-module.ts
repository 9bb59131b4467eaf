// The event type of the filled logs with two upcasters in code.
import { defineEvent, defineModule, Type } from "../../src/workflow/index.ts";

const item = Type.Object({ sku: Type.String(), n: Type.Integer() });
const order = {
  orderId: Type.String(),
  customer: Type.String(),
  amount: Type.Number(),
  items: Type.Array(item),
  note: Type.String(),
};
const { amount, ...rest } = order;

const orderPlaced = defineEvent("OrderPlaced", Type.Object(order))
  .version(Type.Object({ ...rest, amountCents: Type.Integer() }), {
    upcast: ({ amount, ...others }) => ({ ...others, amountCents: Math.round(amount * 100) }),
  })
  .version(Type.Object({ ...rest, amountCents: Type.Integer(), currency: Type.String() }), {
    upcast: (placed) => ({ ...placed, currency: "EUR" }),
  });

export default defineModule({ name: "bench", events: [orderPlaced] });
