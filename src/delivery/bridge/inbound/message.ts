// Reads messages of NATS into events: what its body says, where it was appended first, whether it comes back.
import { bodyTooLarge, invalidEvent, malformedBody, Problem, type Violation } from "../../../base/errors.ts";
import type { NewEvent } from "../../../stream/event.ts";
import { toEvent } from "../../../stream/event-input.ts";
import type { RemoteSource } from "../../../stream/remote/definition.ts";
import type { OriginOffset } from "../../../stream/remote/move.ts";
import { readBody, type StoredMessage } from "./body.ts";

/** An event; `origin`: where it stands in the log of the service that published it, if that says so. */
export type ReadMessage = {
  event: NewEvent | Problem;
  origin: OriginOffset | null;
  /** It was appended to the very stream that mirrors it, and comes back to it: that has it, or has forgotten it. */
  isReturned: boolean;
};

/** What is the same for all mirrors of a service. */
export type ReadSettings = {
  /** Name of this service. */
  service: string;
  maxEventBytes: number;
};

export type ReadContext = ReadSettings & {
  /** Of this service's log. */
  logId: string;
  /** The local stream. */
  stream: string;
  source: RemoteSource;
};

// What the service that published an event says of its place there; here it has another one.
const ownPlace = ["position", "recordedtime", "stream", "offset", "logid"];
const ofFirstPlace = ["originstream", "originoffset", "originlogid"];
const maxOffset = /^\d{1,15}$/;
// Of the types that are the service's own, those that stand in streams which can be shared: the transitions of sagas.
const sagaTransition = /^sluice\.saga-[a-z-]+$/;

/** Reads a message. What can never become an event comes as the problem that says why. */
export function readMessage(message: StoredMessage, context: ReadContext): ReadMessage {
  let origin: OriginOffset | null = null;
  let isReturned = false;
  try {
    const headers = new Map<string, string>();
    for (const [name, value] of message.headers) headers.set(name.toLowerCase(), value);
    const body = readBody(message, headers);
    const { value } = body;
    const { dataschema, logid, stream, offset, originlogid, originstream, originoffset } = value;
    origin = placeOf(logid, stream, offset);
    // What a service passes on that it has mirrored itself says where it was appended.
    const first = origin && (placeOf(originlogid, originstream, originoffset) ?? origin);
    isReturned = first !== null && first.logId === context.logId && first.stream === context.stream;
    for (const name of ownPlace) delete value[name];
    for (const name of ofFirstPlace) delete value[name];
    // The link to a schema comes and goes with the schema; the event stays the same.
    if (origin !== null) delete value.dataschema;
    // What the envelope says without being told.
    if (body.data !== null && value.datacontenttype === "application/json") delete value.datacontenttype;
    if (body.binary !== null) value.data_base64 = Buffer.from(body.binary).toString("base64");
    const violations: Violation[] = [];
    // Who writes to the stream of a service is that service; a subject or a stream by its name may be anybody's.
    const own = origin !== null && "service" in context.source && sagaTransition.test(String(value.type));
    const parse = { stream: context.stream, service: context.service, idempotencyKey: null, own };
    const event = toEvent({ value, data: body.data }, "", parse, 0, violations);
    if (event === null || violations.length > 0) return { event: invalidEvent(violations), origin, isReturned };
    const added = value.time === undefined ? { time: new Date(message.storedMs).toISOString() } : {};
    if (first !== null) Object.assign(added, originOf(first, dataschema));
    const whole = withAttributes(event, added);
    const isTooLarge = whole.bytes > context.maxEventBytes;
    return { event: isTooLarge ? bodyTooLarge(context.maxEventBytes) : whole, origin, isReturned };
  } catch (error) {
    return { event: error instanceof Problem ? error : malformedBody(String(error)), origin, isReturned };
  }
}

/** What is no part of what the event is: the same event may come again at another time, and from another place. */
function withAttributes(event: NewEvent, added: Record<string, string>): NewEvent {
  const text = JSON.stringify(added);
  if (text === "{}") return event;
  const attributes = `${event.attributes.slice(0, -1)},${text.slice(1)}`;
  return { ...event, attributes, bytes: event.bytes + Buffer.byteLength(text) - 1 };
}

function originOf({ stream, offset, logId }: OriginOffset, dataschema: unknown): Record<string, string> {
  const place = { originstream: stream, originoffset: String(offset), originlogid: logId };
  const isLink = typeof dataschema === "string" && dataschema.length <= 1_024 && URL.canParse(dataschema);
  return isLink ? { ...place, dataschema } : place;
}

/** A place in the log of a service of this kind; null where it is none. */
function placeOf(logId: unknown, stream: unknown, offset: unknown): OriginOffset | null {
  const isOne =
    typeof logId === "string" &&
    /^[0-9a-f-]{36}$/.test(logId) &&
    typeof stream === "string" &&
    /^[A-Za-z0-9._:-]{1,200}$/.test(stream) &&
    typeof offset === "string" &&
    maxOffset.test(offset);
  return isOne ? { logId, stream, offset: Number(offset) } : null;
}
