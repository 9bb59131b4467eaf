// Specifications, for the tests of modules, whatever runs them: of deciders, of projections that fold, and of sagas.
import type { Static, TObject, TSchema } from "@sinclair/typebox";
import type { DeciderDefinition } from "./deciders/decider.ts";
import type { DraftEvent } from "./events/draft-event.ts";
import type { FoldProjectionOf } from "./projections/define-projection.ts";
import type { SagaDefinition } from "./sagas/saga.ts";
import { type Given, givenDecider } from "./testing/decider.ts";
import { type GivenRows, givenProjection } from "./testing/projection.ts";
import { type GivenSaga, givenSaga, type SagaSpecificationOptions } from "./testing/saga.ts";

/** A decider whose stream has these events, oldest first. */
export function given<State extends TSchema, Bodies extends object>(
  decider: DeciderDefinition<State, Bodies>,
  events?: readonly DraftEvent[],
): Given<State, Bodies>;
/** A projection that has got these events, oldest first. */
export function given<Row, Key, Before>(
  projection: FoldProjectionOf<Row, Key, Before>,
  events?: readonly DraftEvent[],
): GivenRows<Row, Key>;
/** A saga that is started with this. */
export function given<Data extends TObject, Input extends TSchema>(
  saga: SagaDefinition<Data, Input>,
  input: Static<Input>,
  options?: SagaSpecificationOptions,
): GivenSaga<Static<Data>>;
export function given(
  of: DeciderDefinition | FoldProjectionOf<unknown, unknown, unknown> | SagaDefinition,
  before: unknown = [],
  options?: SagaSpecificationOptions,
): unknown {
  switch (of.kind) {
    case "decider":
      return givenDecider(of, before as readonly DraftEvent[]);
    case "projection":
      return givenProjection(of, before as readonly DraftEvent[]);
    case "saga":
      return givenSaga(of, before, options);
    default:
      return of satisfies never;
  }
}
