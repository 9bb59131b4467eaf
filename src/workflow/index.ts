// What modules are written with.
export { type Static, Type } from "@sinclair/typebox";
export type { CommandContext, Workflow } from "./commands/command.ts";
export { defineCommand } from "./commands/define-command.ts";
export { reject } from "./commands/rejection.ts";
export { type DeciderDefinition, type Decision, defineDecider } from "./deciders/decider.ts";
export type { DraftEvent, EventAttributes } from "./events/draft-event.ts";
export { defineEvent, type EventData, type EventType } from "./events/event-type.ts";
export type { EventContext } from "./events/recorded-event.ts";
export { defineModule, type Module } from "./module/module.ts";
export { defineRemoteStream, type RemoteStreamDefinition } from "./module/remote-stream-definition.ts";
export { defineStream, type StreamDefinition } from "./module/stream-definition.ts";
export { defineProjection, type FoldProjectionOf } from "./projections/define-projection.ts";
export { defineSqlProjection, type SqlProjectionOf } from "./projections/define-sql-projection.ts";
export type { ProjectionSql } from "./projections/definition.ts";
export type { RowsModel, SqlModel } from "./projections/model.ts";
export { defineSaga } from "./sagas/define-saga.ts";
export type { SagaContext, SagaDefinition } from "./sagas/saga.ts";
export {
  defineSubscription,
  type EventHandler,
  type SubscriptionDefinition,
} from "./subscriptions/define-subscription.ts";
export type { HandledDelivery } from "./subscriptions/handled-delivery.ts";
