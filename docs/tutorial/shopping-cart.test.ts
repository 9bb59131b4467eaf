// What a cart promises, without a service.
import { expect, test } from "bun:test";
import { given } from "sluice/testing";
import {
  articlesInCarts,
  CartAbandoned,
  CartCheckedOut,
  CartOpened,
  CartReminded,
  carts,
  cartTimeout,
  ItemAdded,
  ItemRemoved,
  timesOf,
} from "./shopping-cart.ts";

const cart = "7";
const twoMugs = [CartOpened.event({ cart }), ItemAdded.event({ cart, article: "MUG", quantity: 2 })];

test("the first item opens the cart", () => {
  given(carts).when("add-item", { cart, article: "MUG", quantity: 2 }).then(twoMugs);
  given(carts, twoMugs)
    .when("add-item", { cart, article: "MUG", quantity: 1 })
    .then([ItemAdded.event({ cart, article: "MUG", quantity: 1 })])
    .thenState({ is: "open", items: { MUG: 3 } });
});

test("a cart holds at most a hundred of an article", () => {
  given(carts, twoMugs)
    .when("add-item", { cart, article: "MUG", quantity: 99 })
    .thenRejects("A cart holds at most 100 of an article", { inCart: 2 });
});

test("only what is in the cart can be taken out", () => {
  given(carts, twoMugs).when("remove-item", { cart, article: "MUG", quantity: 2 }).thenState({ is: "open", items: {} });
  given(carts, twoMugs)
    .when("remove-item", { cart, article: "PEN", quantity: 1 })
    .thenRejects("There is not so much of it in the cart", { inCart: 0 });
});

test("a cart is checked out once, with what is in it", () => {
  given(carts, twoMugs)
    .when("check-out", { cart })
    .then([CartCheckedOut.event({ cart, items: { MUG: 2 } })])
    .thenResult({ items: { MUG: 2 } })
    .thenState({ is: "closed", items: {} });
  given(carts, [...twoMugs, CartCheckedOut.event({ cart, items: { MUG: 2 } })])
    .when("check-out", { cart })
    .thenRejects("There is no open cart of this id");
  given(carts, [CartOpened.event({ cart })])
    .when("check-out", { cart })
    .thenRejects("The cart is empty");
});

test("a cart that is closed stays so", () => {
  given(carts, [...twoMugs, CartAbandoned.event({ cart, items: { MUG: 2 } })])
    .when("add-item", { cart, article: "MUG", quantity: 1 })
    .thenRejects("The cart is closed", { cart });
});

test("only an open cart is reminded of, and abandoned", () => {
  given(carts, twoMugs)
    .when("remind-of-cart", { cart })
    .then([CartReminded.event({ cart })]);
  given(carts, twoMugs)
    .when("abandon-cart", { cart })
    .then([CartAbandoned.event({ cart, items: { MUG: 2 } })])
    .thenState({ is: "closed", items: {} });
  const checkedOut = [...twoMugs, CartCheckedOut.event({ cart, items: { MUG: 2 } })];
  given(carts, checkedOut).when("remind-of-cart", { cart }).then([]);
  given(carts, checkedOut).when("abandon-cart", { cart }).then([]);
});

test("the reminder comes before the end", () => {
  expect(timesOf("2026-11-21T10:00:00.000Z")).toEqual({
    remindAt: "2026-11-21T10:00:03.000Z",
    abandonAt: "2026-11-21T10:00:10.000Z",
  });
});

test("articles are counted as long as they lie in an open cart", () => {
  const three = [...twoMugs, ItemAdded.event({ cart: "8", article: "MUG", quantity: 1 })];
  given(articlesInCarts, three).thenRows([{ article: "MUG", quantity: 3 }]);
  given(articlesInCarts, [...three, CartCheckedOut.event({ cart, items: { MUG: 2 } })]).thenRow("MUG", {
    article: "MUG",
    quantity: 1,
  });
  given(articlesInCarts, [...twoMugs, ItemRemoved.event({ cart, article: "MUG", quantity: 2 })]).thenRows([]);
});

test("the timer reminds of a cart, then gives it up", async () => {
  const openedAt = "2026-11-21T10:00:00.000Z";
  const timer = given(cartTimeout, { cart, ...timesOf(openedAt) }, { at: openedAt });
  (await timer.whenPassed("3s").run()).thenState("Running", "until-the-end").thenRan([["remind-of-cart", { cart }]]);
  (await timer.whenPassed("10s").run()).thenState("Completed").thenRan([
    ["remind-of-cart", { cart }],
    ["abandon-cart", { cart }],
  ]);
});
