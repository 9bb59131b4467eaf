// A saga: steps one after the other, each kept as soon as it is done, and undone in reverse when a later one fails.
import type { Static, TObject, TSchema } from "@sinclair/typebox";
import type { RunCommand } from "../commands/run-command.ts";
import type { DraftEvent } from "../events/draft-event.ts";
import type { EventType } from "../events/event-type.ts";
import type { EventContext } from "../events/recorded-event.ts";
import type { RetryOptions } from "../handlers/retry-policy.ts";
import type { StreamDefinition } from "../module/stream-definition.ts";
import type { StepShape } from "./progress.ts";

export type SagaContext = {
  readonly sagaId: string;
  /** The `correlationid` of all its events. */
  readonly correlationId: string;
  /** The name of the step. */
  readonly step: string;
  /** From 1; a process that died in an attempt counts too. */
  readonly attempt: number;
  /**
   * The same at each attempt, another one for each step and each compensation. Whoever is called with it can recognise a call
   * that was made before a crash.
   */
  readonly idempotencyKey: string;
  /** Fires when the time is over or the service stops. */
  readonly signal: AbortSignal;
  /** Emits events, which are appended if the step is completed: with the record of it, or not at all. */
  emit(stream: string | StreamDefinition, ...events: DraftEvent[]): void;
  /**
   * Runs a command of a module, with an idempotency key of its own: it has its effect once, however often the step is tried.
   * Returns its result; throws when it is refused, which fails the step for good.
   */
  readonly run: RunCommand;
};

/** What a step adds to the data; a member that is undefined is taken away. */
// biome-ignore lint/suspicious/noConfusingVoidType: a handler that returns nothing adds nothing
export type Additions<Data> = { readonly [Name in keyof Data]?: Data[Name] | undefined } | undefined | void;

export type CompensationOptions<Data> = {
  /** Undoes the step. It may be tried several times, and must then come to the same. */
  compensate?: (data: Data, context: SagaContext) => Additions<Data> | Promise<Additions<Data>>;
  compensateRetry?: RetryOptions;
};

export type StepOptions<Data> = CompensationOptions<Data> & {
  /** For people. */
  description?: string;
  /**
   * Does the step, and returns what it adds to the data. It may be tried several times, also when an attempt before has had its
   * effect. What it throws is tried again by the policy; `reject` ends the tries.
   */
  execute: (data: Data, context: SagaContext) => Additions<Data> | Promise<Additions<Data>>;
  retry?: RetryOptions;
  /** How long an attempt may take, at the step and at its compensation. Default: `10s`, at most `10m`. */
  timeout?: string;
};

export type WaitOptions<Data, Event> = CompensationOptions<Data> & {
  /** For people. */
  description?: string;
  /** Whether it is the one that is waited for. Without it, any is. A pure function. */
  when?: (event: Event, data: Data, about: EventContext) => boolean;
  /** What the event adds to the data. */
  take?: (event: Event, data: Data, about: EventContext) => Additions<Data>;
  /** Which events of the type may be the one. Default: those that bear the saga's correlation id. */
  match?: MatchOptions<Data>;
} & (
    | {
        /** How long it waits. */
        timeout: string;
        /**
         * What comes of it when that is over: the step has failed (`fail`, the default), or is completed (`continue`), with what this adds
         * to the data.
         */
        onTimeout?: "fail" | "continue" | ((data: Data) => Additions<Data>);
      }
    | { /** Without it, it waits until the deadline. */ timeout?: never; onTimeout?: never }
  );

/** By what an event is matched, where it is not by its correlation id. */
export type Matching = "stream" | "subject" | "partition-key";

/** By what an event is matched instead of its correlation id: the value is found as the wait begins. */
export type MatchOptions<Data> =
  | { /** The stream that it is in. */ stream: (data: Data) => string; partitionKey?: never; subject?: never }
  | { /** Its `partitionkey`. */ partitionKey: (data: Data) => string; stream?: never; subject?: never }
  | { /** Its `subject`. */ subject: (data: Data) => string; stream?: never; partitionKey?: never };

export type SleepOptions<Data> = {
  /** For people. */
  description?: string;
} & (
  | { /** How long, from when it begins. */ for: string; until?: never }
  | { /** Until when: a time of RFC 3339, such as one in the data. */ until: (data: Data) => string; for?: never }
);

type Handler = (data: unknown, context: SagaContext) => unknown;

type Compensating = { readonly compensate: Handler | null; readonly timeoutMs: number };

export type SagaStep = StepShape &
  Compensating & { readonly description: string | null } & (
    | { readonly kind: "execute"; readonly execute: Handler }
    | {
        readonly kind: "wait";
        readonly event: EventType;
        /** Null for as long as it takes. */
        readonly waitMs: number | null;
        readonly when: (event: unknown, data: unknown, about: EventContext) => boolean;
        readonly take: (event: unknown, data: unknown, about: EventContext) => unknown;
        /** Null: by the correlation id. */
        readonly match: { readonly by: Matching; readonly key: (data: unknown) => unknown } | null;
        /** What adds to the data when its time is over; null: then it has failed. */
        readonly onTimeout: ((data: unknown) => unknown) | null;
      }
    | { readonly kind: "sleep"; readonly until: (data: unknown, now: number) => number }
  );

export type SagaOptions<Data extends TObject, Input extends TSchema> = {
  /** For people. */
  description?: string;
  /** Of the data that the steps work on, which are kept as JSON; what later steps add is optional. */
  data: Data;
  /** Of what it is started with. Default: the schema of the data. */
  input?: Input;
  /** When the whole has to be done, from its start: what is complete by then is compensated otherwise. */
  deadline?: string;
  /**
   * Raised when the steps change: what was started by an earlier version goes on by the new one, if the steps that it has
   * completed are still the first ones. Default: 1.
   */
  version?: number;
} & (Static<Input> extends Static<Data> ? Partial<StartOption<Data, Input>> : StartOption<Data, Input>);

type StartOption<Data extends TObject, Input extends TSchema> = {
  /** Makes the first data of what it is started with. Without it they are it. */
  start: (input: NoInfer<Static<Input>>) => NoInfer<Static<Data>>;
};

/** A saga; `step`, `waitFor` and `sleep` return it with one more step. */
export type SagaDefinition<Data extends TObject = TObject, Input extends TSchema = TSchema> = {
  readonly kind: "saga";
  readonly name: string;
  readonly description: string | null;
  readonly data: Data;
  readonly input: Input;
  readonly start: (input: unknown) => unknown;
  readonly deadlineMs: number | null;
  readonly version: number;
  readonly steps: readonly SagaStep[];
  /** Does something, and knows how to undo it. */
  step(name: string, options: StepOptions<Static<Data>>): SagaDefinition<Data, Input>;
  /** Waits for an event of a type that bears the saga's correlation id, or is matched otherwise, in any persistent stream. */
  waitFor<Name extends string, Latest extends TSchema>(
    name: string,
    type: EventType<Name, Latest>,
    options?: WaitOptions<Static<Data>, Static<Latest>>,
  ): SagaDefinition<Data, Input>;
  /** Rests for a time, however often the service is started anew meanwhile. */
  sleep(name: string, options: SleepOptions<Static<Data>>): SagaDefinition<Data, Input>;
};
