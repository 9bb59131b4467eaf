// The module of the measurements of commands, deciders, projections and sagas.
import { defineCommand, defineDecider, defineEvent, defineModule, Type } from "../../src/workflow/index.ts";

const item = Type.Object({ sku: Type.String(), n: Type.Integer() });
const order = Type.Object({
  orderId: Type.String(),
  customer: Type.String(),
  amount: Type.Number(),
  items: Type.Array(item),
  note: Type.String(),
});
const OrderPlaced = defineEvent("OrderPlaced", order);
const Counted = defineEvent("Counted", Type.Object({ by: Type.Integer() }));

const placeOrder = defineCommand("place-order", {
  body: order,
  result: Type.Object({ orderId: Type.String() }),
  handle(body, { workflow }) {
    workflow.emit("orders", OrderPlaced.event(body));
    return { orderId: body.orderId };
  },
});

const counter = defineDecider("counter", {
  state: Type.Object({ total: Type.Integer() }),
  initialState: { total: 0 },
})
  .on(Counted, ({ total }, { by }) => ({ total: total + by }))
  .command("count", {
    body: Type.Object({ id: Type.String(), by: Type.Integer() }),
    id: ({ id }) => id,
    decide: (_, { by }) => Counted.event({ by }),
  });

export default defineModule({
  name: "bench",
  events: [OrderPlaced, Counted],
  commands: [placeOrder],
  deciders: [counter],
});
