// The routes of the service, on Elysia.
import { Elysia } from "elysia";
import { Problem } from "../base/errors.ts";
import { uuidv7 } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import { type AppendDependencies, appendHandler } from "./append.ts";
import { answerProblem, createEdge, type Handler } from "./context.ts";
import { type EventsDependencies, eventHandler, eventsHandler } from "./events.ts";
import { type OperationsDependencies, operationsHandlers } from "./operations.ts";
import { type StreamsDependencies, streamsHandlers } from "./streams.ts";

export type ServerDependencies = {
  append: AppendDependencies;
  events: EventsDependencies;
  streams: StreamsDependencies;
  operations: OperationsDependencies;
  log: Log;
};

type Route = [method: "GET" | "HEAD" | "POST" | "PUT" | "DELETE", path: string, handler: Handler];

/** The routes; their documents stand in openapi.ts. */
function routes(dependencies: ServerDependencies): Route[] {
  const streams = streamsHandlers(dependencies.streams);
  const operations = operationsHandlers(dependencies.operations);
  return [
    ["POST", "/api/streams/:name/events", appendHandler(dependencies.append)],
    ["GET", "/api/streams/:name/events", eventsHandler(dependencies.events, true)],
    ["GET", "/api/streams/:name/events/:offset", eventHandler(dependencies.events)],
    ["GET", "/api/events", eventsHandler(dependencies.events, false)],
    ["GET", "/api/streams", streams.list],
    ["GET", "/api/streams/:name", streams.get],
    ["HEAD", "/api/streams/:name", streams.head],
    ["PUT", "/api/streams/:name", streams.put],
    ["DELETE", "/api/streams/:name", streams.remove],
    ["GET", "/livez", operations.live],
    ["GET", "/readyz", operations.ready],
    ["GET", "/metrics", operations.metrics],
  ];
}

export function createServer(dependencies: ServerDependencies) {
  const { log } = dependencies;
  const edge = createEdge(log);
  const app = new Elysia({ name: "sluice" });
  const allowed = new Map<string, string[]>();
  for (const [method, path, handler] of routes(dependencies)) {
    app.route(method, path, edge(handler), { parse: "none" });
    allowed.set(path, [...(allowed.get(path) ?? []), method]);
  }
  for (const [path, methods] of allowed) {
    const allow = methods.join(", ");
    app.all(
      path,
      edge(() => {
        throw new Problem("method-not-allowed", `The resource has ${allow}`, { allow });
      }),
      { parse: "none" },
    );
  }
  app.onError(({ error, code, request }) => {
    const problem =
      code === "NOT_FOUND" ? new Problem("not-found", "There is no such resource; /docs shows what there is") : error;
    return answerProblem(problem, request, uuidv7(), log);
  });
  return app;
}
