// Shopping carts: what is put into them, and what becomes of those that nobody checks out.
import {
  defineDecider,
  defineEvent,
  defineModule,
  defineProjection,
  defineSaga,
  defineSubscription,
  reject,
  type Static,
  Type,
} from "sluice";

const cart = Type.String({ pattern: "^[0-9]{1,18}$" });
const article = Type.String({ pattern: "^[A-Z0-9-]{1,40}$" });
const most = 100;
const quantity = Type.Integer({ minimum: 1, maximum: most });
const items = Type.Record(article, quantity);

export const CartOpened = defineEvent("CartOpened", Type.Object({ cart }));
export const ItemAdded = defineEvent("ItemAdded", Type.Object({ cart, article, quantity }));
export const ItemRemoved = defineEvent("ItemRemoved", Type.Object({ cart, article, quantity }));
export const CartCheckedOut = defineEvent("CartCheckedOut", Type.Object({ cart, items }));
export const CartReminded = defineEvent("CartReminded", Type.Object({ cart }));
export const CartAbandoned = defineEvent("CartAbandoned", Type.Object({ cart, items }));

type Items = Static<typeof items>;

/** What is in a cart with more of an article, or with less; none of it is no item. */
function changed(before: Items, of: string, by: number): Items {
  const { [of]: had = 0, ...others } = before;
  return had + by === 0 ? others : { ...others, [of]: had + by };
}

export const carts = defineDecider("cart", {
  description: "A cart: nobody has put anything in yet, or it is open, or closed for good",
  state: Type.Object({
    is: Type.Union([Type.Literal("new"), Type.Literal("open"), Type.Literal("closed")]),
    items,
  }),
  initialState: { is: "new", items: {} },
})
  .on(CartOpened, () => ({ is: "open", items: {} }))
  .on(ItemAdded, (state, { article: what, quantity: count }) => ({
    ...state,
    items: changed(state.items, what, count),
  }))
  .on(ItemRemoved, (state, { article: what, quantity: count }) => ({
    ...state,
    items: changed(state.items, what, -count),
  }))
  .on(CartCheckedOut, () => ({ is: "closed", items: {} }))
  .on(CartAbandoned, () => ({ is: "closed", items: {} }))
  .command("add-item", {
    description: "Puts some of an article into a cart; the first one opens the cart",
    body: Type.Object({ cart, article, quantity }),
    id: (added) => added.cart,
    decide(state, added) {
      if (state.is === "closed") reject("The cart is closed", { cart: added.cart });
      const inCart = state.items[added.article] ?? 0;
      if (inCart + added.quantity > most) reject(`A cart holds at most ${most} of an article`, { inCart });
      const opened = state.is === "new" ? [CartOpened.event({ cart: added.cart })] : [];
      return [...opened, ItemAdded.event(added)];
    },
  })
  .command("remove-item", {
    description: "Takes some of an article out of a cart",
    body: Type.Object({ cart, article, quantity }),
    id: (removed) => removed.cart,
    decide(state, removed) {
      const inCart = state.items[removed.article] ?? 0;
      if (inCart < removed.quantity) reject("There is not so much of it in the cart", { inCart });
      return ItemRemoved.event(removed);
    },
  })
  .command("check-out", {
    description: "Buys what is in a cart",
    body: Type.Object({ cart }),
    result: Type.Object({ items }),
    id: (body) => body.cart,
    decide({ is, items: bought }, { cart: id }) {
      if (is !== "open") reject("There is no open cart of this id", { cart: id });
      if (Object.keys(bought).length === 0) reject("The cart is empty", { cart: id });
      return { events: [CartCheckedOut.event({ cart: id, items: bought })], result: { items: bought } };
    },
  })
  .command("remind-of-cart", {
    description: "Reminds of a cart; one that is not open any more needs no reminder",
    body: Type.Object({ cart }),
    id: (body) => body.cart,
    decide: ({ is }, { cart: id }) => (is === "open" ? CartReminded.event({ cart: id }) : []),
  })
  .command("abandon-cart", {
    description: "Gives up a cart; one that is not open any more stays as it is",
    body: Type.Object({ cart }),
    id: (body) => body.cart,
    decide: ({ is, items: left }, { cart: id }) =>
      is === "open" ? CartAbandoned.event({ cart: id, items: left }) : [],
  });

const row = Type.Object({ article, quantity: Type.Integer() });
type Row = Static<typeof row>;

/** None of an article is no row. */
const counted = (before: Row, by: number): Row | null =>
  before.quantity + by === 0 ? null : { ...before, quantity: before.quantity + by };

export const articlesInCarts = defineProjection("articles-in-carts", {
  description: "How much of each article lies in open carts",
  row,
  key: "article",
  initial: { quantity: 0 },
})
  .on(ItemAdded, { key: (added) => added.article, apply: (before, added) => counted(before, added.quantity) })
  .on(ItemRemoved, {
    key: (removed) => removed.article,
    apply: (before, removed) => counted(before, -removed.quantity),
  })
  .on(CartCheckedOut, {
    key: (bought) => Object.keys(bought.items),
    apply: (before, bought) => counted(before, -(bought.items[before.article] ?? 0)),
  })
  .on(CartAbandoned, {
    key: (left) => Object.keys(left.items),
    apply: (before, left) => counted(before, -(left.items[before.article] ?? 0)),
  });

const time = Type.String({ format: "date-time" });

export const cartTimeout = defineSaga("cart-timeout", {
  description: "Reminds of a cart that is not checked out, and gives it up in the end",
  data: Type.Object({ cart, remindAt: time, abandonAt: time }),
})
  .sleep("until-the-reminder", { until: ({ remindAt }) => remindAt })
  .step("remind", {
    execute: async ({ cart: id }, { run }) => {
      await run(carts, "remind-of-cart", { cart: id });
    },
  })
  .sleep("until-the-end", { until: ({ abandonAt }) => abandonAt })
  .step("abandon", {
    execute: async ({ cart: id }, { run }) => {
      await run(carts, "abandon-cart", { cart: id });
    },
  });

/** A shop would say a day, and a week. */
export function timesOf(openedAt: string): { remindAt: string; abandonAt: string } {
  const after = (seconds: number) => new Date(Date.parse(openedAt) + seconds * 1_000).toISOString();
  return { remindAt: after(3), abandonAt: after(10) };
}

export const openedCarts = defineSubscription("opened-carts", {
  stream: "*",
  mode: "exclusive",
  from: "beginning",
}).on(CartOpened, async ({ cart: id }, { recordedTime }, { start }) => {
  await start(cartTimeout, { cart: id, ...timesOf(recordedTime) });
});

export default defineModule({
  name: "shopping-cart",
  events: [CartOpened, ItemAdded, ItemRemoved, CartCheckedOut, CartReminded, CartAbandoned],
  deciders: [carts],
  projections: [articlesInCarts],
  sagas: [cartTimeout],
  subscriptions: [openedCarts],
});
