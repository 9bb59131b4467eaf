// The routes of the service, on Elysia.
import { Elysia } from "elysia";
import { Problem } from "../base/errors.ts";
import { uuidv7 } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import { readComponents } from "../stream/schema/components.ts";
import { type AppendDependencies, appendHandler } from "./append.ts";
import { type BridgeDependencies, bridgeHandlers } from "./bridge.ts";
import { type ClaimsDependencies, claimsHandlers } from "./claims.ts";
import { type CommandsDependencies, commandsHandlers } from "./commands.ts";
import { type ConsumeDependencies, consumeHandler } from "./consume.ts";
import { type ConsumersDependencies, consumersHandlers } from "./consumers.ts";
import { answerProblem, createEdge } from "./context.ts";
import { createCors } from "./cors.ts";
import { type DeadLettersDependencies, deadLettersHandlers } from "./dead-letters.ts";
import { docsHandlers } from "./docs.ts";
import { type EventsDependencies, eventHandler, eventsHandler } from "./events.ts";
import { type LiveDependencies, liveHandlers } from "./live.ts";
import { type LocksDependencies, locksHandlers } from "./locks.ts";
import { openApiDocument } from "./openapi/document.ts";
import type { Extensions } from "./openapi/extensions.ts";
import { type Handlers, registerOperations } from "./openapi/operations.ts";
import { withRegisteredEvents } from "./openapi/registered-events.ts";
import { type OperationsDependencies, operationsHandlers } from "./operations.ts";
import { type OutboxDependencies, outboxHandlers } from "./outbox.ts";
import { problemPageHandlers } from "./problem-pages.ts";
import { type ProcessedDependencies, processedHandlers } from "./processed.ts";
import { type ProjectionsDependencies, projectionsHandlers } from "./projections.ts";
import { type ReceiptsDependencies, receiptsHandlers } from "./receipts.ts";
import { type RemoteStreamsDependencies, remoteStreamsHandlers } from "./remote-streams.ts";
import { type SagasDependencies, sagasHandlers } from "./sagas.ts";
import { schemaVersionsHandlers } from "./schema-versions.ts";
import { type SchemasDependencies, schemasHandlers } from "./schemas.ts";
import { type SnapshotsDependencies, snapshotsHandlers } from "./snapshots.ts";
import { type StreamsDependencies, streamsHandlers } from "./streams.ts";
import { type SubscriptionsDependencies, subscriptionsHandlers } from "./subscriptions.ts";

export type ServerDependencies = {
  append: AppendDependencies;
  events: EventsDependencies;
  streams: StreamsDependencies;
  snapshots: SnapshotsDependencies;
  subscriptions: SubscriptionsDependencies;
  claims: ClaimsDependencies;
  consume: ConsumeDependencies;
  live: LiveDependencies;
  receipts: ReceiptsDependencies;
  processed: ProcessedDependencies;
  locks: LocksDependencies;
  commands: CommandsDependencies;
  outbox: OutboxDependencies;
  remoteStreams: RemoteStreamsDependencies;
  bridge: BridgeDependencies;
  projections: ProjectionsDependencies;
  schemas: SchemasDependencies;
  sagas: SagasDependencies;
  consumers: ConsumersDependencies;
  deadLetters: DeadLettersDependencies;
  operations: OperationsDependencies;
  /** What the modules bring along, for the OpenAPI document. */
  extensions: Extensions;
  /** Origins whose pages may use the service from a browser. */
  corsOrigins: readonly string[];
  /** Serves the pages to try things with. */
  development: boolean;
  log: Log;
};

function handlersOf(dependencies: ServerDependencies, document: () => Promise<string>): Handlers {
  const streams = streamsHandlers(dependencies.streams);
  const snapshots = snapshotsHandlers(dependencies.snapshots);
  const subscriptions = subscriptionsHandlers(dependencies.subscriptions);
  const claims = claimsHandlers(dependencies.claims, "subscription");
  const queues = claimsHandlers(dependencies.claims, "queue");
  const live = liveHandlers(dependencies.live);
  const receipts = receiptsHandlers(dependencies.receipts);
  const processed = processedHandlers(dependencies.processed, "subscription");
  const queueProcessed = processedHandlers(dependencies.processed, "queue");
  const locks = locksHandlers(dependencies.locks);
  const outbox = outboxHandlers(dependencies.outbox);
  const remoteStreams = remoteStreamsHandlers(dependencies.remoteStreams);
  const bridge = bridgeHandlers(dependencies.bridge);
  const projections = projectionsHandlers(dependencies.projections);
  const consumers = consumersHandlers(dependencies.consumers);
  const deadLetters = deadLettersHandlers(dependencies.deadLetters, "subscription");
  const queueLetters = deadLettersHandlers(dependencies.deadLetters, "queue");
  const schemas = schemasHandlers(dependencies.schemas);
  const schemaVersions = schemaVersionsHandlers(dependencies.schemas);
  const commands = commandsHandlers(dependencies.commands);
  const sagas = sagasHandlers(dependencies.sagas);
  const operations = operationsHandlers(dependencies.operations);
  const docs = docsHandlers(document, dependencies.schemas.registry.revision, dependencies.development);
  const problems = problemPageHandlers();
  return {
    "POST /api/streams/:name/events": appendHandler(dependencies.append),
    "GET /api/streams/:name/events": eventsHandler(dependencies.events, "stream"),
    "GET /api/streams/:name/events/:offset": eventHandler(dependencies.events),
    "GET /api/events": eventsHandler(dependencies.events, "log"),
    "GET /api/streams": streams.list,
    "GET /api/streams/:name": streams.get,
    "HEAD /api/streams/:name": streams.head,
    "PUT /api/streams/:name": streams.put,
    "DELETE /api/streams/:name": streams.remove,
    "GET /api/streams/:name/snapshot": snapshots.get,
    "PUT /api/streams/:name/snapshot": snapshots.put,
    "POST /api/streams/:name/claims": queues.claim,
    "POST /api/streams/:name/acks": queues.acknowledge,
    "POST /api/streams/:name/nacks": queues.giveBack,
    "POST /api/streams/:name/extensions": queues.extend,
    "GET /api/streams/:name/consumers/:consumer/processed/:event": queueProcessed.get,
    "PUT /api/streams/:name/consumers/:consumer/processed/:event": queueProcessed.put,
    "GET /api/streams/:name/dead-letters": queueLetters.list,
    "GET /api/streams/:name/dead-letters/:id": queueLetters.get,
    "POST /api/streams/:name/dead-letters/replay": queueLetters.replay,
    "DELETE /api/streams/:name/dead-letters": queueLetters.discard,
    "GET /api/streams/:name/subscriptions": subscriptions.ofStream,
    "GET /api/subscriptions": subscriptions.list,
    "GET /api/subscriptions/:name": subscriptions.get,
    "PUT /api/subscriptions/:name": subscriptions.put,
    "DELETE /api/subscriptions/:name": subscriptions.remove,
    "POST /api/subscriptions/:name/pause": subscriptions.pause,
    "POST /api/subscriptions/:name/resume": subscriptions.resume,
    "GET /api/subscriptions/:name/events": consumeHandler(dependencies.consume),
    "POST /api/subscriptions/:name/claims": claims.claim,
    "POST /api/subscriptions/:name/acks": claims.acknowledge,
    "POST /api/subscriptions/:name/nacks": claims.giveBack,
    "POST /api/subscriptions/:name/extensions": claims.extend,
    "GET /api/live/:id": live.open,
    "DELETE /api/live/:id": live.remove,
    "PUT /api/live/:id/streams/:name": live.putStream,
    "DELETE /api/live/:id/streams/:name": live.removeStream,
    "PUT /api/live/:id/subscriptions/:name": live.putSubscription,
    "DELETE /api/live/:id/subscriptions/:name": live.removeSubscription,
    "POST /api/live/:id/subscriptions/:name/catch-up": live.catchUp,
    "GET /api/subscriptions/:name/consumers/:consumer/unread": receipts.unread,
    "POST /api/subscriptions/:name/consumers/:consumer/read": receipts.read,
    "GET /api/subscriptions/:name/consumers/:consumer/processed/:event": processed.get,
    "PUT /api/subscriptions/:name/consumers/:consumer/processed/:event": processed.put,
    "POST /api/locks": locks.acquire,
    "GET /api/locks/:key": locks.get,
    "PUT /api/locks/:key": locks.renew,
    "DELETE /api/locks/:key": locks.release,
    "GET /api/bridge": bridge.get,
    "GET /api/bridge/streams/:name/withheld": bridge.withheld,
    "GET /api/outbox": outbox.get,
    "GET /api/outbox/failures": outbox.failures,
    "POST /api/outbox/failures/retry": outbox.retry,
    "DELETE /api/outbox/failures": outbox.discard,
    "GET /api/remote-streams": remoteStreams.list,
    "GET /api/remote-streams/:name": remoteStreams.get,
    "PUT /api/remote-streams/:name": remoteStreams.put,
    "DELETE /api/remote-streams/:name": remoteStreams.remove,
    "GET /api/remote-streams/:name/dead-letters": remoteStreams.letters,
    "GET /api/remote-streams/:name/dead-letters/:id": remoteStreams.letter,
    "POST /api/remote-streams/:name/dead-letters/replay": remoteStreams.replay,
    "DELETE /api/remote-streams/:name/dead-letters": remoteStreams.discard,
    "GET /api/subscriptions/:name/consumers": consumers.list,
    "GET /api/subscriptions/:name/consumers/:consumer": consumers.get,
    "PUT /api/subscriptions/:name/consumers/:consumer": consumers.put,
    "DELETE /api/subscriptions/:name/consumers/:consumer": consumers.remove,
    "POST /api/subscriptions/:name/consumers/:consumer/heartbeat": consumers.heartbeat,
    "POST /api/subscriptions/:name/consumers/:consumer/reset-offset": consumers.reset,
    "POST /api/subscriptions/:name/reset-offset": consumers.resetShared,
    "GET /api/subscriptions/:name/dead-letters": deadLetters.list,
    "GET /api/subscriptions/:name/dead-letters/:id": deadLetters.get,
    "POST /api/subscriptions/:name/dead-letters/replay": deadLetters.replay,
    "DELETE /api/subscriptions/:name/dead-letters": deadLetters.discard,
    "GET /api/projections": projections.list,
    "GET /api/projections/:name": projections.get,
    "DELETE /api/projections/:name": projections.remove,
    "GET /api/projections/:name/status": projections.status,
    "POST /api/projections/:name/pause": projections.pause,
    "POST /api/projections/:name/resume": projections.resume,
    "POST /api/projections/:name/skip": projections.skip,
    "POST /api/projections/:name/rebuild": projections.rebuild,
    "POST /api/projections/:name/snapshots": projections.snapshot,
    "GET /api/schemas": schemas.list,
    "GET /api/schemas/:type": schemas.get,
    "PUT /api/schemas/:type": schemas.put,
    "GET /api/schemas/:type/history": schemas.history,
    "POST /api/schemas/:type/upcast": schemaVersions.upcast,
    "GET /api/schemas/:type/versions/:version": schemaVersions.get,
    "PUT /api/schemas/:type/versions/:version": schemaVersions.put,
    "DELETE /api/schemas/:type/versions/:version": schemaVersions.remove,
    "GET /api/commands": commands.list,
    "POST /api/commands/:command": commands.run,
    "GET /api/workflows/:workflow/events": eventsHandler(dependencies.events, "workflow"),
    "POST /api/sagas/:saga/start": sagas.start,
    "GET /api/sagas": sagas.list,
    "GET /api/sagas/:saga/status": sagas.status,
    "POST /api/sagas/:saga/pause": sagas.pause,
    "POST /api/sagas/:saga/resume": sagas.resume,
    "POST /api/sagas/:saga/cancel": sagas.cancel,
    "POST /api/sagas/:saga/retry": sagas.retry,
    "GET /livez": operations.live,
    "GET /readyz": operations.ready,
    "GET /metrics": operations.metrics,
    "GET /openapi.json": docs.document,
    "GET /docs": docs.page,
    "GET /docs/:asset": docs.asset,
    "GET /problems": problems.index,
    "GET /problems/:code": problems.page,
  };
}

export function createServer(dependencies: ServerDependencies) {
  const { log } = dependencies;
  const cors = createCors(dependencies.corsOrigins);
  const edge = createEdge(log, cors);
  const app = new Elysia({ name: "sluice" });
  const document = async () =>
    withRegisteredEvents(
      openApiDocument(app.routes, dependencies.extensions),
      await readComponents(dependencies.schemas.reads),
    );
  const allowed = registerOperations(app, handlersOf(dependencies, document), edge);
  for (const [path, methods] of allowed) {
    // Whatever answers GET answers HEAD.
    const allow = [...new Set(methods.flatMap((method) => (method === "GET" ? ["GET", "HEAD"] : method)))].join(", ");
    app.all(
      path,
      edge(() => {
        throw new Problem("method-not-allowed", `The resource has ${allow}`, { allow });
      }),
      { parse: "none", detail: { hide: true } },
    );
  }
  app.onError(({ error, code, request }) => {
    const problem =
      code === "NOT_FOUND" ? new Problem("not-found", "There is no such resource; /docs shows what there is") : error;
    const response = answerProblem(problem, request, uuidv7(), log);
    cors.expose(request, response.headers);
    return response;
  });
  return app;
}
