// The service's own frames in event streams: what they are named, what they bear, and when they come.
import { cursor, decimal } from "./event-schemas.ts";
import { component, type Schema } from "./operation.ts";

/** A frame of the service's own, by its name in `event:`. */
export type ServiceFrame = {
  event: string;
  /** What its `id:` is; null where it has none. */
  id: string | null;
  /** The members of its data; null where they are a problem, with the fields of `about`. */
  data: Record<string, Schema> | null;
  /** Members of the data that are not always there. */
  about?: Record<string, Schema>;
  meaning: string;
};

const text = (description: string): Schema => ({ type: "string", description });
const logId = text("The history of the log; another one after a backup was restored");
const stream = text("Name of the stream");
const requested = text("The cursor that was asked for");
const missing = {
  from: decimal("The first number that is missing"),
  to: decimal("The last number that is missing"),
};
const reason = (...reasons: string[]): Schema => ({ type: "string", enum: reasons });

/** Of event streams that follow streams, the log or a workflow. */
export const followFrames: ServiceFrame[] = [
  {
    event: "sluice.ready",
    id: "the cursor, `-1` before the first event",
    data: {
      stream: { type: ["string", "null"], description: "The stream that is followed; null where there are several" },
      from: decimal("The number that comes next at the earliest"),
      head: cursor("The last number there is"),
      logId,
    },
    meaning: "always first, with `retry:`",
  },
  {
    event: "sluice.caught-up",
    id: "the cursor",
    data: { at: cursor("The cursor") },
    meaning: "history is over, what follows is live",
  },
  {
    event: "sluice.progress",
    id: null,
    data: { sent: decimal("Events so far"), total: decimal("Events in all") },
    meaning: "with `progress=true` and `to` or `limit`, every thousand events and at the end",
  },
  {
    event: "sluice.gap",
    id: "the last number that is missing",
    data: missing,
    meaning: "offsets that the cursor asked for and that have been removed",
  },
  {
    event: "sluice.reset",
    id: null,
    data: { requested, head: cursor("The last number there is"), logId },
    meaning: "the cursor belongs to another history of the log; choose anew",
  },
  {
    event: "sluice.problem",
    id: null,
    data: null,
    meaning: "the service cannot go on; `retry:` says when to come back",
  },
  {
    event: "sluice.end",
    id: "`end:` and the cursor, but for a shutdown",
    data: { reason: reason("to", "limit", "reset", "failed", "shutting-down") },
    meaning: "`to`, `limit`, `reset`, `failed` or `shutting-down`; the stream closes",
  },
];

/** Of event streams of subscriptions. */
export const consumeFrames: ServiceFrame[] = [
  {
    event: "sluice.ready",
    id: null,
    data: {
      subscription: text("Name of the subscription"),
      consumer: text("Name of the consumer"),
      from: cursor("The position behind which it goes on"),
      head: cursor("The last position of the log"),
    },
    meaning: "always first, with `retry:`",
  },
  {
    event: "sluice.caught-up",
    id: null,
    data: { at: cursor("The position up to which everything has been handed out") },
    meaning: "once, when everything up to the `head` of `sluice.ready` has been handed out",
  },
  { event: "sluice.problem", id: null, data: null, meaning: "why events cannot be handed out, before the end" },
  {
    event: "sluice.end",
    id: "begins with `end:` where it is for good",
    data: { reason: reason("completed", "deleted", "failed", "shutting-down") },
    meaning: "the event stream closes",
  },
];

const subject = { stream, subscription: text("Name of the subscription") };

/** Of live connections. */
export const liveFrames: ServiceFrame[] = [
  {
    event: "sluice.ready",
    id: "the position where all streams stand",
    data: { live: text("The id of the connection"), head: cursor("The last position of the log"), logId },
    meaning: "always first, with `retry:`",
  },
  {
    event: "sluice.caught-up",
    id: null,
    data: { stream, at: cursor("The offset up to which everything has been sent") },
    meaning: "the history of a stream is over, what follows of it is live",
  },
  {
    event: "sluice.gap",
    id: null,
    data: { stream, ...missing },
    meaning: "offsets of a stream that were asked for and that have been removed",
  },
  {
    event: "sluice.reset",
    id: null,
    data: { requested, head: cursor("The last position of the log"), logId },
    meaning: "the cursor belongs to another history of the log; choose anew",
  },
  {
    event: "sluice.problem",
    id: null,
    data: null,
    about: subject,
    meaning: "why a stream or a subscription does not flow, or the connection cannot begin",
  },
  {
    event: "sluice.end",
    id: "begins with `end:` where it is for good",
    data: { reason: reason("removed", "replaced", "reset", "completed", "shutting-down") },
    about: { subscription: text("The subscription that has ended alone; without it, the connection") },
    meaning: "a subscription or the connection has ended",
  },
];

/** The schema of a frame's data. */
export function frameData({ data, about = {} }: ServiceFrame): Schema {
  if (data === null) return { allOf: [component("schemas", "Problem"), { type: "object", properties: about }] };
  return { type: "object", properties: { ...data, ...about }, required: Object.keys(data) };
}

/** The frames as a table in Markdown. */
export function frameTable(frames: readonly ServiceFrame[]): string {
  const rows = frames.map(({ event, id, data, meaning }) => {
    const bears = data === null ? "a problem" : `\`{${Object.keys(data).map((key) => JSON.stringify(key))}}\``;
    return `| \`${event}\` | ${id === null ? "" : `${id} `}| ${bears}: ${meaning} |`;
  });
  return ["| event | id | data |", "|---|---|---|", ...rows].join("\n");
}
