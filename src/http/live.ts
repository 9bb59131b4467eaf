// /api/live/{id}: one event stream for many streams and subscriptions, which come and go while it is open.
import {
  cursorBeyondHead,
  forbidden,
  invalidParameter,
  liveConnectionNotFound,
  overloaded,
  shuttingDown,
} from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { LiveHub } from "../delivery/live/hub.ts";
import type { LiveMembership, LiveMemberships } from "../delivery/live/membership.ts";
import { resolveFollow } from "../stream/follow-start.ts";
import { parseCursor } from "../stream/place.ts";
import type { LogReader } from "../stream/range.ts";
import { readHead } from "../stream/resolve.ts";
import type { Registry } from "../stream/schema/registry.ts";
import { readLogId } from "../stream/stream-head.ts";
import type { Ledger } from "../subscription/ledger/ledger.ts";
import type { Catalog } from "../subscription/registry/catalog.ts";
import type { Membership } from "../subscription/registry/membership.ts";
import { negotiate } from "./accept.ts";
import { type Exchange, type Handler, json } from "./context.ts";
import { comeBack, eventStream, eventStreamHeaders } from "./event-stream.ts";
import {
  readConsumerName,
  readPlace,
  readQuery,
  readSelection,
  readStreamName,
  readSubscriptionName,
  readTarget,
} from "./parameters.ts";
import { toProblem } from "./problem.ts";

export type LiveDependencies = {
  reader: LogReader;
  registry: Registry;
  hub: LiveHub;
  memberships: LiveMemberships;
  catalog: Catalog;
  membership: Membership;
  ledger: Pick<Ledger, "putBackHeld">;
  /** What flows on a connection has changed: whichever process has it open has to know. */
  announce: (id: string) => void;
  isDraining: () => boolean;
  isFull: () => boolean;
  log: Log;
};

export type LiveHandlers = {
  open: Handler;
  remove: Handler;
  putStream: Handler;
  removeStream: Handler;
  putSubscription: Handler;
  removeSubscription: Handler;
  catchUp: Handler;
};

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

function readId(params: Record<string, string>): string {
  const id = params.id ?? "";
  if (!uuid.test(id)) throw invalidParameter("id", "a live connection is named by a UUID of the client's choice");
  return id.toLowerCase();
}

export function liveHandlers(dependencies: LiveDependencies): LiveHandlers {
  const { reader, hub, memberships, catalog, membership, ledger, log } = dependencies;
  const headNow = () => reader.pool.run((sql) => readHead(sql, reader.knownHead()));

  function changed(id: string): void {
    hub.reload([id]);
    dependencies.announce(id);
  }

  async function follow(exchange: Exchange, id: string): Promise<Response> {
    const { request, principal } = exchange;
    const query = readQuery(request, ["lastEventId"]);
    const cursor = request.headers.get("last-event-id") ?? query.get("lastEventId");
    if (cursor?.startsWith("end:")) return new Response(null, { status: 204 });
    if (dependencies.isDraining()) return comeBack(shuttingDown(), exchange);
    if (dependencies.isFull())
      return comeBack(overloaded("There are as many event streams as this process serves"), exchange);
    try {
      const [head, logId] = await Promise.all([headNow(), reader.pool.run(readLogId)]);
      const seen = cursor === null || cursor === "" ? null : parseCursor(cursor);
      // A cursor that is no position of ours is of another history: the reader has to choose anew.
      if ((cursor !== null && cursor !== "" && seen === null) || (seen !== null && seen > head)) {
        return eventStream([
          { event: "sluice.reset", data: { requested: cursor, head: String(head), logId } },
          { id: `end:${head}`, event: "sluice.end", data: { reason: "reset" } },
        ]);
      }
      const body = await hub.open({ id, principal, position: seen, head, logId, signal: request.signal });
      return new Response(body, { headers: eventStreamHeaders });
    } catch (error) {
      // A browser gives up for good on any status but 200, and a database that is away comes back.
      const problem = toProblem(error, true);
      if (problem.status !== 503) throw error;
      log.warn({ err: problem.cause ?? problem, requestId: exchange.requestId() }, "a live connection cannot start");
      return comeBack(problem, exchange);
    }
  }

  return {
    async open(exchange) {
      const id = readId(exchange.params);
      const { request, principal } = exchange;
      const form = negotiate(request.headers.get("accept"), ["text/event-stream", "application/json"]);
      if (form === "text/event-stream") return follow(exchange, id);
      readQuery(request, []);
      return json(describe(id, await memberships.require(id, principal.name)));
    },
    async remove({ request, params, principal }) {
      const id = readId(params);
      readQuery(request, []);
      await memberships.require(id, principal.name);
      await memberships.remove(id);
      changed(id);
      return new Response(null, { status: 204 });
    },
    async putStream({ request, params, principal }) {
      const id = readId(params);
      const stream = readStreamName(params.name ?? "");
      const query = readQuery(request, ["from", "types", "key", "where", "schema"]);
      const selection = readSelection(query, stream);
      const from = readPlace(query, "from");
      const target = await readTarget(query, dependencies.registry);
      const start = await resolveFollow(reader, { selection, single: true, from, after: null, to: null, principal });
      if (start.reset) throw cursorBeyondHead(query.get("from") ?? "", String(start.head), start.logId);
      const isNew = await memberships.addStream(id, principal.name, start.logHead, {
        stream,
        types: selection.types,
        key: selection.key,
        where: selection.where,
        target,
        startPosition: start.start.position,
      });
      changed(id);
      return json(describe(id, await memberships.require(id, principal.name)), isNew ? 201 : 200);
    },
    async removeStream({ request, params, principal }) {
      const id = readId(params);
      const stream = readStreamName(params.name ?? "");
      readQuery(request, []);
      await memberships.require(id, principal.name);
      if (!(await memberships.removeStream(id, stream))) throw liveConnectionNotFound(id);
      changed(id);
      return new Response(null, { status: 204 });
    },
    async putSubscription({ request, params, principal }) {
      const id = readId(params);
      const name = readSubscriptionName(params.name ?? "");
      const query = readQuery(request, ["consumer", "ack"]);
      const ack = query.get("ack") ?? "explicit";
      if (ack !== "explicit" && ack !== "auto") throw invalidParameter("ack", "ack is explicit or auto");
      const subscription = await catalog.require(name);
      const refused = subscription.streams?.find((stream) => !principal.canRead(stream));
      if (refused !== undefined) throw forbidden(`Consuming stream ${refused} is not allowed`);
      if (ack === "auto" && subscription.delivery === "exactly-once")
        throw invalidParameter("ack", "an exactly-once subscription takes explicit acknowledgements only");
      const isNew = await memberships.addSubscription(id, principal.name, await headNow(), {
        subscription: name,
        consumer: readConsumerName(query.get("consumer") ?? id),
        autoAcknowledge: ack === "auto",
      });
      changed(id);
      return json(describe(id, await memberships.require(id, principal.name)), isNew ? 201 : 200);
    },
    async removeSubscription({ request, params, principal }) {
      const id = readId(params);
      const name = readSubscriptionName(params.name ?? "");
      readQuery(request, []);
      await memberships.require(id, principal.name);
      if (!(await memberships.removeSubscription(id, name))) throw liveConnectionNotFound(id);
      changed(id);
      return new Response(null, { status: 204 });
    },
    async catchUp({ request, params, principal }) {
      const id = readId(params);
      const name = readSubscriptionName(params.name ?? "");
      readQuery(request, []);
      const { subscriptions } = await memberships.require(id, principal.name);
      const flowing = subscriptions.find(({ subscription }) => subscription === name);
      if (flowing === undefined) throw liveConnectionNotFound(id);
      const subscription = await catalog.require(name);
      const cursor = await membership.join(subscription, flowing.consumer);
      await ledger.putBackHeld(cursor, flowing.consumer);
      return new Response(null, { status: 202 });
    },
  };
}

/** What flows on a connection, as the API shows it. */
export type LiveDescription = {
  live: string;
  streams: {
    stream: string;
    types: readonly string[] | null;
    key: string | null;
    where: string | null;
    schema: string;
  }[];
  subscriptions: { subscription: string; consumer: string; ack: "auto" | "explicit" }[];
};

function describe(id: string, { streams, subscriptions }: LiveMembership): LiveDescription {
  return {
    live: id,
    streams: streams.map(({ stream, types, key, where, target }) => ({
      stream,
      types,
      key,
      where,
      schema: target.key,
    })),
    subscriptions: subscriptions.map(({ subscription, consumer, autoAcknowledge }) => ({
      subscription,
      consumer,
      ack: autoAcknowledge ? "auto" : "explicit",
    })),
  };
}
