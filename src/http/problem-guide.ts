// What each problem means to whoever meets it, and what helps.
import type { ProblemCode } from "../base/errors.ts";

export type Guidance = { meaning: string; remedy: string };

export const guide: Record<ProblemCode, Guidance> = {
  "malformed-body": {
    meaning: "The body is not JSON, is not UTF-8, or broke off before its end. Nothing was stored.",
    remedy: "Send the body as the detail says. A shell may have eaten quotes: put the JSON in single quotes or a file.",
  },
  "invalid-stream-name": {
    meaning: "The name of a stream has 1 to 200 characters of A-Z a-z 0-9 . _ - and :, and is not . or .. alone.",
    remedy: "Use such a name; other characters are refused also when they are percent-encoded.",
  },
  "invalid-subscription-name": {
    meaning: "The name of a subscription has 1 to 200 characters of A-Z a-z 0-9 . _ - and :, and is not . or .. alone.",
    remedy: "Use such a name; other characters are refused also when they are percent-encoded.",
  },
  "invalid-parameter": {
    meaning: "A query parameter or a header is unknown, is given twice, or has a value outside its bounds.",
    remedy: "The member parameter names it, and the detail says what it takes.",
  },
  "invalid-place": {
    meaning:
      "A place is beginning, latest, a number, time: with an RFC 3339 time, or event: with an id; this is none, or names an event that is not there.",
    remedy: "Write the place as one of these. In a URL the + of a time's offset is %2B.",
  },
  "invalid-filter": {
    meaning: "The value of where is not a JSON path predicate that Postgres can evaluate over the data.",
    remedy:
      "Write a predicate such as $.amount > 100, or exists($.amount) to ask whether something is there. With curl, -G and --data-urlencode encode it.",
  },
  forbidden: {
    meaning: "Who asks may not do this.",
    remedy: "Ask as somebody who may.",
  },
  "replay-forbidden": {
    meaning: "The stream is configured with replay: false: its history is not handed out, only what comes live.",
    remedy: "Follow the stream from latest, or configure it with replay: true.",
  },
  "not-found": {
    meaning: "The service has nothing at this path.",
    remedy: "/docs shows all paths.",
  },
  "stream-not-found": {
    meaning: "Nothing was ever appended to the stream and it was not created, or it was deleted.",
    remedy: "Append to it or create it. Following a stream waits for its first event instead.",
  },
  "event-not-found": {
    meaning: "The stream has not come as far as this offset.",
    remedy: "The member offset is what was asked for; the stream's lastOffset is the last there is.",
  },
  "projection-not-found": {
    meaning: "No module of any process has ever defined a projection of this name.",
    remedy: "GET /api/projections lists those that there are.",
  },
  "projection-row-not-found": {
    meaning: "The read model has no row of this key, or its module finds nothing for this query.",
    remedy:
      "The event that makes it may not have been handled yet: /api/projections/{name}/status says how far the projection is.",
  },
  "projection-not-failed": {
    meaning: "Only an event that fails can be skipped, and the projection fails at another one, or not at all.",
    remedy: "Skip the position that /api/projections/{name}/status says in failedPosition, if any.",
  },
  "projection-rebuilding": {
    meaning: "A rebuild is under way, or was asked for and has not begun.",
    remedy:
      "Wait until it is done: /api/projections/{name}/status shows it in rebuild. One that has failed can be begun anew.",
  },
  "projection-attended": {
    meaning: "A process that has the projection's module keeps it up to date: it would make it again.",
    remedy:
      "Take the module out of MODULES of all processes, then remove the projection. A killed process is known to be gone after LEASE_DURATION.",
  },
  "no-projection-snapshot": {
    meaning:
      "The projection has no snapshot of the definition that is live: a copy made by another one cannot be used.",
    remedy: "Rebuild from the beginning, or take a snapshot first.",
  },
  "projection-not-ready": {
    meaning:
      "The projection has no tables yet, or those that it has were made by another definition than the one that was to answer.",
    remedy: "Try again; /api/projections/{name}/status shows how far it is.",
  },
  "projection-behind": {
    meaning: "The projection had not come to the position of atLeast when the time of wait was over.",
    remedy:
      "Try again, or read without atLeast what there is. The member state says whether it goes on: one that is paused, failed or unattended does not by itself.",
  },
  "subscription-not-found": {
    meaning: "There is no subscription of this name (any more).",
    remedy: "Create it with PUT /api/subscriptions/{name}; GET /api/subscriptions lists those that there are.",
  },
  "schema-not-found": {
    meaning: "The type, or this version of it, is not registered (any more).",
    remedy: "GET /api/schemas lists the types, GET /api/schemas/{type} the versions of one.",
  },
  "schema-conflict": {
    meaning:
      "The version is registered with another schema. A version never changes, because events were written by it.",
    remedy: "Give the new schema the next version. The member changes says at which places the two differ.",
  },
  "schema-version-gap": {
    meaning: "Versions of a type are numbered from 1 without gaps, and this is not the next one.",
    remedy: "The member next says which is. Somebody else may have taken the one that you had in mind.",
  },
  "incompatible-schema": {
    meaning:
      "By the compatibility of its type, the new version must read older data, or be read by older readers, and it does not.",
    remedy:
      "The member differences says what breaks it. For backward, give an upcaster or make the change optional; try with dryRun=true.",
  },
  "schema-in-use": {
    meaning:
      "The version cannot be deleted: events are of it, a later version builds on it, or a subscription asks for it.",
    remedy: "Register a later version instead. Only a newest version that was never used can go.",
  },
  "invalid-schema": {
    meaning:
      "This is no JSON Schema (2020-12) that can be kept, refers to something outside itself, or its upcaster is no expression.",
    remedy: "The member errors names the places in the body.",
  },
  "schema-mismatch": {
    meaning:
      "The stream enforces schemas, and an event does not match that of its type and version, or has none. Nothing was stored.",
    remedy: "The member errors names the places. GET /api/schemas/{type} says what is registered.",
  },
  "upcast-failed": {
    meaning: "The upcaster of a version between the two failed on these data.",
    remedy: "The detail says why. Mend it with PUT /api/schemas/{type}/versions/{version}: the schema stays as it is.",
  },
  "schemas-unavailable": {
    meaning:
      "Upcasters and schemas are evaluated by a process of its own, and there is none now; or this process lacks a module's code.",
    remedy: "Try again in a moment. If it goes on, the service's log says why.",
  },
  "consumer-not-found": {
    meaning: "The subscription has no consumer of this name: it never asked, was removed, or fell silent.",
    remedy: "A consumer joins by consuming, or by PUT …/consumers/{consumer}.",
  },
  "not-processed": {
    meaning: "Nobody has marked the event as processed, or that is longer ago than PROCESSED_WINDOW.",
    remedy: "Whoever holds the event marks it with PUT and its token.",
  },
  "already-processed": {
    meaning:
      "An earlier delivery of the same event was marked as processed: its effect is there. The member at says since when.",
    remedy: "Do nothing for this one, undo what was begun, and acknowledge it.",
  },
  "lock-not-found": {
    meaning: "Nobody holds a lock of this key: it was never taken, was released, or ran out.",
    remedy: "Take it with POST /api/locks.",
  },
  "saga-not-found": {
    meaning:
      "There is no saga of this id, it was forgotten after SAGA_WINDOW, or no module of this service defines a saga of this name.",
    remedy: "GET /api/sagas lists what there is. MODULES says which modules a service has.",
  },
  "saga-ended": {
    meaning: "The saga is Completed, Compensated or Failed: there is nothing to pause, resume or cancel any more.",
    remedy: "The member state says how it ended. One that has failed can be tried again with POST …/retry.",
  },
  "saga-misfit": {
    meaning:
      "The saga was begun by another version of its definition, whose completed steps are not the first ones of this one.",
    remedy: "Load the module in which its steps are as they were, and try again.",
  },
  "saga-not-failed": {
    meaning:
      "Only a saga whose compensation has failed is tried again by request; the member state says what this one is.",
    remedy: "GET /api/sagas/{id}/status says what it does, and when it goes on.",
  },
  "no-receipts": {
    meaning: "Only a subscription of mode read-receipt knows what was read; the member mode says what this one is.",
    remedy: "Create a subscription of the stream with mode read-receipt.",
  },
  "lock-held": {
    meaning:
      "Somebody holds the lock; a second request of the same owner is another one, which does not get it either.",
    remedy:
      "Come back after the time in Retry-After, or send wait to be answered as soon as it is free. The member owner says who holds it and the member expiresAt until when. Its holder goes on with PUT /api/locks/{key} and the token.",
  },
  "stale-token": {
    meaning:
      "The token was good once, or never: what it names has run out, was settled, given back or taken away, or belongs to somebody else.",
    remedy: "Stop what was done under it: somebody else may be at it by now. Ask for a new one.",
  },
  "not-a-queue": {
    meaning: "Only ephemeral streams have a built-in queue; this stream is persistent.",
    remedy: "Create a subscription of the stream with PUT /api/subscriptions/{name}, and claim from that.",
  },
  "subscription-in-use": {
    meaning: "The mode of a subscription decides where its consumers stand: it cannot change while there are any.",
    remedy:
      "End its consumers (DELETE …/consumers/{consumer}, or wait for consumerTimeout), or create another subscription.",
  },
  "too-many-consumers": {
    meaning: "The subscription is configured with maxConsumers, and has as many.",
    remedy: "Come back when one has left; a silent one is forgotten after consumerTimeout.",
  },
  "live-connection-not-found": {
    meaning: "Nothing is known of this live connection, or nothing of the kind flows on it.",
    remedy:
      "Open it with GET /api/live/{id}, and add streams and subscriptions with PUT. It is forgotten a while after its reader has left.",
  },
  "snapshot-not-found": {
    meaning: "Nobody has saved a snapshot of the stream since it began its present life, or not whoever by names.",
    remedy: "Read the stream's events instead. PUT /api/streams/{name}/snapshot saves one.",
  },
  "remote-stream-not-found": {
    meaning: "This service mirrors no stream of another service under this name.",
    remedy: "PUT /api/remote-streams/{name} says what is mirrored; GET /api/remote-streams lists what is.",
  },
  "dead-letter-not-found": {
    meaning:
      "The subscription, queue or remote stream has no dead letter of this id: it was put back or discarded, or never was.",
    remedy: "GET the list of its dead letters.",
  },
  "command-not-found": {
    meaning: "No module of this service has a command of this name.",
    remedy: "GET /api/commands lists them. MODULES names the files of modules that the service loads.",
  },
  "command-rejected": {
    meaning: "The command refuses for a reason of its own, which the detail tells. Nothing was stored.",
    remedy: "Change what stands in its way, or what you ask for; details has what the command gave besides.",
  },
  "command-failed": {
    meaning:
      "The code of the command did what it must not: it threw an error, took too long, emitted an event or returned a result that its schema refuses. Nothing was stored.",
    remedy: "Mend the module. The log of the service has the cause; errors names the places that a schema refuses.",
  },
  "method-not-allowed": {
    meaning: "The resource is there and does not have this method.",
    remedy: "Allow, in the answer's headers, lists the methods that it has.",
  },
  "not-acceptable": {
    meaning: "Accept asks for media types in which the resource cannot be had.",
    remedy: "The member offers lists what can be had; leaving Accept out gives JSON.",
  },
  "request-timeout": {
    meaning: "The body did not arrive in time. Nothing was stored.",
    remedy: "Send the request again; if the connection is slow, send fewer events at once.",
  },
  "event-id-conflict": {
    meaning:
      "The stream already holds an event of this id and source with other content. Nothing of the request was stored.",
    remedy: "The member ids names the events. Give new content a new id; a true repetition has the same content.",
  },
  "idempotency-key-in-use": {
    meaning: "A request with this Idempotency-Key is being worked on at this moment.",
    remedy: "Wait and send the same request again: it gets the first one's answer.",
  },
  "stream-type-fixed": {
    meaning:
      "The stream exists and is of the other type: a persistent stream does not become ephemeral, nor the reverse.",
    remedy: "Use another name, or delete the stream first: its name can come back as either type.",
  },
  "delivery-in-use": {
    meaning:
      "A subscription's delivery is never stronger than that of its streams: the stream cannot come to promise less than a subscription of it. Nothing was changed. A PUT without delivery asks for at-least-once.",
    remedy:
      "The member subscriptions names some that promise more: weaken or delete these first, or say a delivery that holds.",
  },
  "nats-name-taken": {
    meaning:
      "Two streams of one service cannot share a JetStream stream, nor a subject: characters that NATS refuses in names become _, so two names can come to the same. The member holder names the other stream. Nothing was changed.",
    remedy: "Give the stream a name of its own with the keys stream and subject of nats, or rename it.",
  },
  "cursor-beyond-head": {
    meaning:
      "The reader stands behind the last event that there is. The log is another one than it read before, such as one restored from a backup, or the number is wrong.",
    remedy: "Compare logId with the one seen before. If it is another, begin anew; else correct the number.",
  },
  "cursor-elsewhere": {
    meaning:
      "In broadcast and read-receipt subscriptions each consumer has a cursor of its own; in the other modes all share the subscription's.",
    remedy: "POST to reset-offset of the consumer, or of the subscription, as the detail says.",
  },
  "snapshot-outdated": {
    meaning:
      "A snapshot of the stream at a later offset is there, or the stream was deleted since this one was made. An older one never replaces a newer one.",
    remedy:
      "The member offset is where the newer one stands: nothing has to be done, or the state is made anew from there.",
  },
  "command-conflict": {
    meaning:
      "The command was decided several times, and each time somebody else appended to the stream before its events could be stored. Nothing was stored.",
    remedy:
      "Repeat the request. Where this happens often, many processes change one entity at the same time: spread it over several.",
  },
  "event-removed": {
    meaning: "The event was there and has been removed, with its stream or by its retention.",
    remedy: "The member firstOffset is the first offset that can still be read.",
  },
  "wrong-expected-version": {
    meaning: "The stream is not at the version that If-Match or If-None-Match expects. Nothing was stored.",
    remedy: "Read what came since, decide anew, and append with the version in the member actual.",
  },
  "body-too-large": {
    meaning: "The body has more bytes than the service takes at once. Nothing was stored.",
    remedy: "Send fewer events at once, or put large content elsewhere and its address in the event.",
  },
  "uri-too-long": {
    meaning: "The URL has more characters than the service reads.",
    remedy: "Shorten the filter, or read more and filter where it is read.",
  },
  "unsupported-media-type": {
    meaning: "The body's Content-Type is not one in which events are taken, or the body is compressed.",
    remedy:
      "Send application/json, application/cloudevents+json or application/cloudevents-batch+json, or any content with ce-* headers; without Content-Encoding.",
  },
  "invalid-event": {
    meaning: "At least one event is not as it must be. Nothing of the request was stored.",
    remedy: "The member errors lists every place, as a JSON Pointer, and what is wrong there.",
  },
  "empty-append": {
    meaning: "The array has no events.",
    remedy: "Send at least one.",
  },
  "invalid-configuration": {
    meaning: "The stream's configuration has an unknown key, or a value that this version cannot honour.",
    remedy: "The member errors lists every place and what it takes.",
  },
  "invalid-request": {
    meaning: "The body is JSON, but not what the operation takes.",
    remedy: "The member errors says for each place in the body, as a JSON Pointer, what is wrong there.",
  },
  "idempotency-key-reused": {
    meaning: "This Idempotency-Key was used for another request.",
    remedy: "Give every request a key of its own, and the same key only to its repetition.",
  },
  "state-not-rebuilt": {
    meaning:
      "The command is decided on a state that follows from the events of a stream, and one of them cannot be used: the schema of its type does not allow its data, its upcaster or the handler fails on it, or it has been removed before a snapshot stood for it. Nothing was stored.",
    remedy:
      "The members stream and offset tell which event it is, the detail tells why, and errors where its data are wrong. The module has to be mended; retention that is shorter than the way between two snapshots takes what is needed.",
  },
  "internal-error": {
    meaning: "The service failed in a way that it did not foresee. A request that changes something may have done so.",
    remedy: "The log of the service has the cause under the request's id, which is the member instance.",
  },
  overloaded: {
    meaning:
      "More requests wait for the database than the service keeps, or it has as many event streams as it serves. This request was not begun.",
    remedy: "Send it again after the time in Retry-After, and less at once.",
  },
  "storage-unavailable": {
    meaning: "The database does not answer or cannot serve now. The request changed nothing.",
    remedy: "Send it again after the time in Retry-After. /readyz says what is wrong.",
  },
  "outcome-unknown": {
    meaning:
      "The connection to the database broke while the request was being worked on: it was done or it was not, and nobody knows.",
    remedy:
      "Send the same request again. With ids of your own, an Idempotency-Key or an expected version, it is not done twice.",
  },
  "shutting-down": {
    meaning: "This process is about to end and takes no new requests. This one was not begun.",
    remedy: "Send it again: another process, or the next one, answers it.",
  },
};
