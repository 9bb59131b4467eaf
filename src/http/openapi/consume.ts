// The document of consuming a subscription by event stream.
import { type Operation, problems, serviceFailures } from "./operation.ts";
import { use } from "./parameters.ts";

const example = `retry: 2214
event: sluice.ready
data: {"subscription":"billing","consumer":"worker-1","from":"1041","head":"1042"}

id: 1042
data: {"specversion":"1.0","id":"019aa5b2-7f00-7000-8000-3f1a2b3c4d5e","type":"OrderPlaced","source":"/sluice/streams/orders","time":"2026-11-21T10:00:00.000Z","datacontenttype":"application/json","stream":"orders","offset":"17","position":"1042","recordedtime":"2026-11-21T10:00:00.004Z","schemaversion":"1","data":{"orderId":"o-1"},"deliverytoken":"1.1.k5h2m9x0ab.0.Zk3v9Qm1Yt7uWc0aPq2x.sy","deliverydeadline":"2026-11-21T10:00:30.010Z","deliveryattempt":1}

event: sluice.caught-up
data: {"at":"1042"}

: heartbeat

`;

export const consumeSubscription: Operation = {
  operationId: "consumeSubscription",
  summary: "Consume by event stream",
  description:
    "Hands out first what was missed (`sluice.ready` says behind which position it goes on, `sluice.caught-up` comes once, when everything up to its `head` has been handed out), then events as the subscription's `push` says, as many as the consumer may hold unsettled (`maxInFlight`); each envelope bears `deliverytoken`, `deliveryattempt` and `deliverydeadline`. They are settled by POST …/acks and …/nacks, on any connection. While the event stream is open the consumer is a member; when it closes, what was not settled is handed out anew at once. `Last-Event-ID` is passed over, because the ledger knows what is open; one that begins with `end:` is answered 204. The end is told by `sluice.end`: with reason `completed`, `deleted` or `failed` it bears an id that begins with `end:`, with `shutting-down` none. What can be tried again, such as too many consumers, is told in a frame `sluice.problem` with 200, or a browser would not come back.",
  tags: ["Subscriptions"],
  parameters: use("SubscriptionName", "Consumer", "Ack", "Named", "LastEventId", "LastEventIdQuery"),
  responses: {
    "200": {
      description: "The event stream (WHATWG HTML, section 9.2).",
      content: { "text/event-stream": { schema: { type: "string" }, examples: { consumed: { value: example } } } },
    },
    "204": { description: "The reader was told that the subscription is over." },
    ...problems(
      "invalid-subscription-name",
      "invalid-parameter",
      "uri-too-long",
      "forbidden",
      "subscription-not-found",
      "not-acceptable",
      "invalid-request",
      ...serviceFailures,
    ),
  },
};
