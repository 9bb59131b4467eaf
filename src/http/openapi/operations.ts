// The table of all operations: what is served is what is documented.
import type { Elysia } from "elysia";
import type { Edge, Handler } from "../context.ts";
import { appendEvents } from "./append.ts";
import * as bridge from "./bridge.ts";
import * as claims from "./claims.ts";
import * as commands from "./commands.ts";
import { consumeSubscription } from "./consume.ts";
import * as consumers from "./consumers.ts";
import * as deadLetters from "./dead-letters.ts";
import * as live from "./live.ts";
import * as locks from "./locks.ts";
import type { Operation } from "./operation.ts";
import * as outbox from "./outbox.ts";
import * as processed from "./processed.ts";
import * as projections from "./projections.ts";
import { readEvent, readLog, readStream, readWorkflowEvents } from "./read.ts";
import * as receipts from "./receipts.ts";
import * as remoteStreams from "./remote-streams.ts";
import * as sagas from "./sagas.ts";
import * as registry from "./schema-registry.ts";
import { docs, docsAsset, livez, metrics, openApi, problemIndex, problemPage, readyz } from "./service.ts";
import * as snapshots from "./snapshots.ts";
import { deleteStream, getStream, headStream, listStreams, putStream } from "./streams.ts";
import * as subscriptions from "./subscriptions.ts";

/** The operations by method and path; in this order they stand in the document. */
export const operations = {
  "POST /api/streams/:name/events": appendEvents,
  "GET /api/streams/:name/events": readStream,
  "GET /api/streams/:name/events/:offset": readEvent,
  "GET /api/events": readLog,
  "GET /api/streams": listStreams,
  "GET /api/streams/:name": getStream,
  "HEAD /api/streams/:name": headStream,
  "PUT /api/streams/:name": putStream,
  "DELETE /api/streams/:name": deleteStream,
  "GET /api/streams/:name/snapshot": snapshots.getSnapshot,
  "PUT /api/streams/:name/snapshot": snapshots.putSnapshot,
  "POST /api/streams/:name/claims": claims.claimFromQueue,
  "POST /api/streams/:name/acks": claims.acknowledgeQueue,
  "POST /api/streams/:name/nacks": claims.giveBackQueue,
  "POST /api/streams/:name/extensions": claims.extendQueue,
  "GET /api/streams/:name/consumers/:consumer/processed/:event": processed.getQueueProcessed,
  "PUT /api/streams/:name/consumers/:consumer/processed/:event": processed.putQueueProcessed,
  "GET /api/streams/:name/dead-letters": deadLetters.listQueueDeadLetters,
  "GET /api/streams/:name/dead-letters/:id": deadLetters.getQueueDeadLetter,
  "POST /api/streams/:name/dead-letters/replay": deadLetters.replayQueueDeadLetters,
  "DELETE /api/streams/:name/dead-letters": deadLetters.discardQueueDeadLetters,
  "GET /api/streams/:name/subscriptions": subscriptions.listStreamSubscriptions,
  "GET /api/subscriptions": subscriptions.listSubscriptions,
  "GET /api/subscriptions/:name": subscriptions.getSubscription,
  "PUT /api/subscriptions/:name": subscriptions.putSubscription,
  "DELETE /api/subscriptions/:name": subscriptions.deleteSubscription,
  "POST /api/subscriptions/:name/pause": subscriptions.pauseSubscription,
  "POST /api/subscriptions/:name/resume": subscriptions.resumeSubscription,
  "GET /api/subscriptions/:name/events": consumeSubscription,
  "POST /api/subscriptions/:name/claims": claims.claim,
  "POST /api/subscriptions/:name/acks": claims.acknowledge,
  "POST /api/subscriptions/:name/nacks": claims.giveBack,
  "POST /api/subscriptions/:name/extensions": claims.extend,
  "GET /api/live/:id": live.openLive,
  "DELETE /api/live/:id": live.removeLive,
  "PUT /api/live/:id/streams/:name": live.putLiveStream,
  "DELETE /api/live/:id/streams/:name": live.removeLiveStream,
  "PUT /api/live/:id/subscriptions/:name": live.putLiveSubscription,
  "DELETE /api/live/:id/subscriptions/:name": live.removeLiveSubscription,
  "POST /api/live/:id/subscriptions/:name/catch-up": live.catchUpLive,
  "GET /api/subscriptions/:name/consumers/:consumer/unread": receipts.listUnread,
  "POST /api/subscriptions/:name/consumers/:consumer/read": receipts.markRead,
  "GET /api/subscriptions/:name/consumers/:consumer/processed/:event": processed.getProcessed,
  "PUT /api/subscriptions/:name/consumers/:consumer/processed/:event": processed.putProcessed,
  "POST /api/locks": locks.acquireLock,
  "GET /api/locks/:key": locks.getLock,
  "PUT /api/locks/:key": locks.renewLock,
  "DELETE /api/locks/:key": locks.releaseLock,
  "GET /api/bridge": bridge.getBridge,
  "GET /api/bridge/streams/:name/withheld": bridge.listWithheld,
  "GET /api/outbox": outbox.getOutbox,
  "GET /api/outbox/failures": outbox.listOutboxFailures,
  "POST /api/outbox/failures/retry": outbox.retryOutboxFailures,
  "DELETE /api/outbox/failures": outbox.discardOutboxFailures,
  "GET /api/remote-streams": remoteStreams.listRemoteStreams,
  "GET /api/remote-streams/:name": remoteStreams.getRemoteStream,
  "PUT /api/remote-streams/:name": remoteStreams.putRemoteStream,
  "DELETE /api/remote-streams/:name": remoteStreams.deleteRemoteStream,
  "GET /api/remote-streams/:name/dead-letters": remoteStreams.listRemoteDeadLetters,
  "GET /api/remote-streams/:name/dead-letters/:id": remoteStreams.getRemoteDeadLetter,
  "POST /api/remote-streams/:name/dead-letters/replay": remoteStreams.replayRemoteDeadLetters,
  "DELETE /api/remote-streams/:name/dead-letters": remoteStreams.discardRemoteDeadLetters,
  "GET /api/subscriptions/:name/consumers": consumers.listConsumers,
  "GET /api/subscriptions/:name/consumers/:consumer": consumers.getConsumer,
  "PUT /api/subscriptions/:name/consumers/:consumer": consumers.putConsumer,
  "DELETE /api/subscriptions/:name/consumers/:consumer": consumers.deleteConsumer,
  "POST /api/subscriptions/:name/consumers/:consumer/heartbeat": consumers.heartbeat,
  "POST /api/subscriptions/:name/consumers/:consumer/reset-offset": consumers.resetConsumer,
  "POST /api/subscriptions/:name/reset-offset": consumers.resetSubscription,
  "GET /api/subscriptions/:name/dead-letters": deadLetters.listDeadLetters,
  "GET /api/subscriptions/:name/dead-letters/:id": deadLetters.getDeadLetter,
  "POST /api/subscriptions/:name/dead-letters/replay": deadLetters.replayDeadLetters,
  "DELETE /api/subscriptions/:name/dead-letters": deadLetters.discardDeadLetters,
  "GET /api/projections": projections.listProjections,
  "GET /api/projections/:name": projections.readProjection,
  "DELETE /api/projections/:name": projections.removeProjection,
  "GET /api/projections/:name/status": projections.getProjection,
  "POST /api/projections/:name/pause": projections.pauseProjection,
  "POST /api/projections/:name/resume": projections.resumeProjection,
  "POST /api/projections/:name/skip": projections.skipInProjection,
  "POST /api/projections/:name/rebuild": projections.rebuildProjection,
  "POST /api/projections/:name/snapshots": projections.snapshotProjection,
  "GET /api/schemas": registry.listSchemas,
  "GET /api/schemas/:type": registry.getSchemaType,
  "PUT /api/schemas/:type": registry.putSchemaType,
  "GET /api/schemas/:type/history": registry.getSchemaHistory,
  "POST /api/schemas/:type/upcast": registry.previewUpcast,
  "GET /api/schemas/:type/versions/:version": registry.getSchema,
  "PUT /api/schemas/:type/versions/:version": registry.putSchema,
  "DELETE /api/schemas/:type/versions/:version": registry.deleteSchema,
  "GET /api/commands": commands.listCommands,
  "POST /api/commands/:command": commands.runCommand,
  "GET /api/workflows/:workflow/events": commands.readWorkflow(readWorkflowEvents),
  "POST /api/sagas/:saga/start": sagas.startSaga,
  "GET /api/sagas": sagas.listSagas,
  "GET /api/sagas/:saga/status": sagas.getSaga,
  "POST /api/sagas/:saga/pause": sagas.pauseSaga,
  "POST /api/sagas/:saga/resume": sagas.resumeSaga,
  "POST /api/sagas/:saga/cancel": sagas.cancelSaga,
  "POST /api/sagas/:saga/retry": sagas.retrySaga,
  "GET /livez": livez,
  "GET /readyz": readyz,
  "GET /metrics": metrics,
  "GET /openapi.json": openApi,
  "GET /docs": docs,
  "GET /docs/:asset": docsAsset,
  "GET /problems": problemIndex,
  "GET /problems/:code": problemPage,
} satisfies Record<string, Operation>;

/** A handler for each operation: one without the other does not compile. */
export type Handlers = Record<keyof typeof operations, Handler>;

/**
 * Registers the handlers. Elysia carries each operation as the route's `detail` and does nothing with it: no validation,
 * no hook. Returns the methods of each path.
 */
export function registerOperations(app: Elysia, handlers: Handlers, edge: Edge): Map<string, string[]> {
  const methods = new Map<string, string[]>();
  for (const key of Object.keys(operations) as (keyof typeof operations)[]) {
    const [method = "", path = ""] = key.split(" ");
    // Elysia's type of `detail` is that of OpenAPI 3.0.
    app.route(method, path, edge(handlers[key]), { parse: "none", detail: operations[key] as object });
    methods.set(path, [...(methods.get(path) ?? []), method]);
  }
  return methods;
}
