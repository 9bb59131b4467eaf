// A command: what somebody asks for, and the code that answers by emitting events.
import type { Static, TSchema } from "@sinclair/typebox";
import type { DraftEvent } from "../events/draft-event.ts";
import type { StreamDefinition } from "../module/stream-definition.ts";

/** An event that was emitted and waits to be appended with the others of its command. */
export type PendingEvent = { readonly stream: string; readonly event: DraftEvent };

/** The process that a command begins or continues. */
export type Workflow = {
  /** The `correlationid` of all its events. */
  readonly id: string;
  /** No event of it was there before. */
  readonly isNew: boolean;
  /** What this command has emitted so far, in order. */
  readonly pending: readonly PendingEvent[];
  /** Emits events to a stream. All that a command emits, to whatever streams, is appended at once or not at all. */
  emit(stream: string | StreamDefinition, ...events: DraftEvent[]): void;
};

export type CommandContext = {
  readonly workflow: Workflow;
  /** The `causationid` of the events. */
  readonly commandId: string;
  /** Fires when the time is over or the client has gone. */
  readonly signal: AbortSignal;
};

export type CommandOptions<Body extends TSchema, Result extends TSchema> = {
  /** For people. */
  description?: string;
  body: Body;
  /** Of what `handle` returns; without it the command has no result. */
  result?: Result;
  /** How long `handle` may take, such as `5s` (the default), at most `1m`. */
  timeout?: string;
  /** Emits events, and returns the result. `reject` refuses the command; whatever else it throws is its defect. */
  handle: (body: Static<Body>, context: CommandContext) => Static<Result> | Promise<Static<Result>>;
};

/** A command; its body and its result are known to whoever runs it from code. */
export type CommandDefinition<Body = unknown, Result = unknown> = {
  /** Nothing is ever there. */
  readonly types?: { readonly body: Body; readonly result: Result };
  readonly kind: "command";
  readonly name: string;
  readonly description: string | null;
  readonly body: TSchema;
  /** Null when it has no result. */
  readonly result: TSchema | null;
  readonly timeoutMs: number;
  readonly handle: (body: unknown, context: CommandContext) => unknown;
};
