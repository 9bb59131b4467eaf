// GET /api/subscriptions/{id}/events: consumes a subscription by Server-Sent Events.
import { forbidden, invalidParameter, invalidRequest, overloaded, shuttingDown } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { SubscriptionStreams } from "../delivery/subscription-stream.ts";
import type { Catalog } from "../subscription/registry/catalog.ts";
import { negotiate } from "./accept.ts";
import type { Handler } from "./context.ts";
import { comeBack, eventStreamHeaders } from "./event-stream.ts";
import { readBoolean, readConsumerName, readQuery, readSubscriptionName } from "./parameters.ts";
import { toProblem } from "./problem.ts";

export type ConsumeDependencies = {
  catalog: Catalog;
  streams: SubscriptionStreams;
  isDraining: () => boolean;
  /** Whether this process has as many event streams as it serves. */
  isFull: () => boolean;
  log: Log;
};

export function consumeHandler({ catalog, streams, isDraining, isFull, log }: ConsumeDependencies): Handler {
  return async (exchange) => {
    const { request, params, principal } = exchange;
    const name = readSubscriptionName(params.name ?? "");
    negotiate(request.headers.get("accept"), ["text/event-stream"]);
    const query = readQuery(request, ["consumer", "ack", "named", "lastEventId"]);
    // It was told that the subscription is over: 204 is the one answer after which EventSource stops without an error.
    const cursor = request.headers.get("last-event-id") ?? query.get("lastEventId");
    if (cursor?.startsWith("end:")) return new Response(null, { status: 204 });
    const given = query.get("consumer");
    if (given === null)
      throw invalidParameter("consumer", "consumer says who asks: events are handed out to consumers by name");
    const consumer = readConsumerName(given);
    const ack = query.get("ack") ?? "explicit";
    if (ack !== "explicit" && ack !== "auto") throw invalidParameter("ack", "ack is explicit or auto");
    const named = readBoolean(query, "named");
    if (isDraining()) return comeBack(shuttingDown(), exchange);
    if (isFull()) return comeBack(overloaded("There are as many event streams as this process serves"), exchange);
    try {
      const subscription = await catalog.require(name);
      const refused = subscription.streams?.find((stream) => !principal.canRead(stream));
      if (refused !== undefined) throw forbidden(`Consuming stream ${refused} is not allowed`);
      if (ack === "auto" && subscription.delivery === "exactly-once")
        throw invalidRequest([
          {
            path: "",
            message:
              "ack=auto settles before the event is sent: an exactly-once subscription takes explicit acknowledgements only",
          },
        ]);
      const body = await streams.open({
        subscription: name,
        consumer,
        autoAcknowledge: ack === "auto",
        named,
        signal: request.signal,
      });
      return new Response(body, { headers: eventStreamHeaders });
    } catch (error) {
      // A browser gives up for good on any status but 200, and what can be tried again will be.
      const problem = toProblem(error, true);
      if (!problem.retryable || problem.code === "internal-error") throw error;
      log.warn(
        { err: problem.cause ?? problem, requestId: exchange.requestId() },
        "an event stream of a subscription cannot start",
      );
      return comeBack(problem, exchange);
    }
  };
}
