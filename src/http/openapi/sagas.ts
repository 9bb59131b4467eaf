// The documents of sagas.
import type { ProblemCode } from "../../base/errors.ts";
import { sagaStates } from "../../workflow/sagas/progress.ts";
import { component, type Operation, problems, type ResponseObject, type Schema, serviceFailures } from "./operation.ts";
import { type ParameterName, use } from "./parameters.ts";

const time = (description: string): Schema => ({ type: "string", format: "date-time", description });
const maybe = (schema: Schema): Schema => ({ ...schema, type: ["string", "null"] });
const text = (description: string): Schema => ({ type: "string", description });
const names = (description: string): Schema => ({ type: "array", items: { type: "string" }, description });

const status: Record<string, Schema> = {
  sagaId: component("schemas", "SagaId"),
  correlationId: text("The `correlationid` of all its events"),
  saga: text("Its name"),
  state: component("schemas", "SagaState"),
  paused: { type: "boolean", description: "Nothing is begun until it is resumed" },
  cancelRequested: { type: "boolean", description: "It is compensated as soon as nothing is under way" },
  progress: { type: "string", description: "Steps that are completed, of all", examples: ["2/3"] },
  currentStep: {
    type: "integer",
    minimum: 0,
    description: "The step that is under way or comes next, counted from 0: so many are completed",
  },
  totalSteps: { type: "integer", minimum: 1 },
  step: maybe(text("The step or the compensation that is under way, comes next, or has failed")),
  completedSteps: names("In the order in which they were completed"),
  compensatedSteps: names("In the order in which they were compensated"),
  undone: names("Of a failed saga: the completed steps that are left to be compensated"),
  failures: { type: "integer", minimum: 0, description: "Failed attempts at the current step or compensation" },
  error: maybe(text("Why the last attempt failed, or why the saga is compensated")),
  failedStep: maybe(text("The step that made it fail")),
  compensationError: maybe(text("Why the last attempt at the compensation failed")),
  waitingFor: maybe(text("The type of the event that it waits for")),
  dueAt: maybe(time("When it goes on: the end of a rest, a sleep or a wait")),
  deadlineAt: maybe(time("When the whole has to be done")),
  startedAt: time("When it was started"),
  updatedAt: time("When it was recorded last"),
  endedAt: maybe(time("When it ended")),
};

/** The schemas of the components, by name. */
export const sagaSchemas: Record<string, Schema> = {
  SagaId: {
    type: "string",
    format: "uuid",
    description: "The id of one saga that was started",
    examples: ["019a2b3c-4d5e-7f60-8a1b-2c3d4e5f6071"],
  },
  SagaState: {
    enum: [...sagaStates],
    description:
      "NotStarted → Running → Completed; or → Compensating → Compensated, or Failed when a compensation fails for good",
  },
  SagaSummary: { type: "object", properties: status, required: Object.keys(status) },
  Saga: {
    allOf: [
      component("schemas", "SagaSummary"),
      {
        type: "object",
        properties: { data: { type: "object", description: "What its steps work on" } },
        required: ["data"],
      },
    ],
  },
};

const sagaId = "019a2b3c-4d5e-7f60-8a1b-2c3d4e5f6071";
const example = {
  sagaId,
  correlationId: "order-7",
  saga: "order-fulfillment",
  state: "Running",
  paused: false,
  cancelRequested: false,
  progress: "1/3",
  currentStep: 1,
  totalSteps: 3,
  step: "authorize-payment",
  completedSteps: ["reserve-inventory"],
  compensatedSteps: [],
  undone: [],
  failures: 1,
  error: "the payment service is away",
  failedStep: null,
  compensationError: null,
  waitingFor: null,
  dueAt: "2026-11-21T10:00:00.400Z",
  deadlineAt: "2026-11-21T11:00:00.010Z",
  startedAt: "2026-11-21T10:00:00.010Z",
  updatedAt: "2026-11-21T10:00:00.200Z",
  endedAt: null,
};
const data = { orderId: "o-1", reservation: "r-1" };

const refusals = ["uri-too-long", "invalid-parameter", ...serviceFailures] as const satisfies ProblemCode[];

const answer = (description: string, schema: Schema, name: string, value: unknown): ResponseObject => ({
  description,
  content: { "application/json": { schema, examples: { [name]: { value } } } },
});

function operation(parts: Omit<Operation, "tags" | "parameters">, ...parameters: ParameterName[]): Operation {
  return { ...parts, tags: ["Sagas"], parameters: use(...parameters) };
}

export const startSaga = operation(
  {
    operationId: "startSaga",
    summary: "Start a saga",
    description:
      "Keeps it and answers; its steps are carried out afterwards, by whichever process comes first, and also if this one dies. Every transition is an event of the stream `saga-{name}`, with the saga's correlation id, and its id as `subject` and `partitionkey`: follow it with `?key=`.",
    requestBody: {
      required: true,
      description: "What the saga is started with, by its own schema; read as JSON, whatever the content type says.",
      content: {
        "application/json": { schema: {}, examples: { order: { value: { orderId: "o-1", amount: 42 } } } },
      },
    },
    responses: {
      "202": {
        ...answer(
          "It is kept.",
          {
            type: "object",
            properties: { sagaId: component("schemas", "SagaId"), correlationId: text("Default: the id of the saga") },
            required: ["sagaId", "correlationId"],
          },
          "started",
          { sagaId, correlationId: "order-7" },
        ),
        headers: { Location: { description: "Where its status is", schema: { type: "string" } } },
      },
      ...problems(
        ...refusals,
        "malformed-body",
        "forbidden",
        "saga-not-found",
        "request-timeout",
        "idempotency-key-in-use",
        "body-too-large",
        "unsupported-media-type",
        "invalid-request",
        "idempotency-key-reused",
        "outcome-unknown",
      ),
    },
  },
  "SagaName",
  "CorrelationId",
  "CorrelationIdQuery",
  "SagaIdempotencyKey",
);

export const listSagas = operation(
  {
    operationId: "listSagas",
    summary: "List sagas",
    description: "The newest first, without their data. Those that came to a good end are kept for SAGA_WINDOW.",
    responses: {
      "200": answer(
        "A page.",
        {
          type: "object",
          properties: {
            sagas: { type: "array", items: component("schemas", "SagaSummary") },
            next: maybe(text("A link to the next page")),
          },
          required: ["sagas", "next"],
        },
        "page",
        { sagas: [example], next: "/api/sagas?state=Running&after=812" },
      ),
      ...problems(...refusals),
    },
  },
  "SagaStateQuery",
  "SagaCorrelationQuery",
  "SagaNameQuery",
  "SagaAfter",
  "SagaLimit",
);

export const getSaga = operation(
  {
    operationId: "getSaga",
    summary: "How a saga stands",
    description: "As it was recorded last.",
    responses: {
      "200": answer("The saga.", component("schemas", "Saga"), "saga", { ...example, data }),
      ...problems(...refusals, "saga-not-found"),
    },
  },
  "SagaId",
);

type Managing = { operationId: string; summary: string; description: string; status: "200" | "202"; does: string };

const managing = ({ operationId, summary, description, status: code, does }: Managing, ...more: ProblemCode[]) =>
  operation(
    {
      operationId,
      summary,
      description,
      responses: {
        [code]: answer(does, component("schemas", "Saga"), "saga", { ...example, data }),
        ...problems(...refusals, "forbidden", "saga-not-found", ...more, "outcome-unknown"),
      },
    },
    "SagaId",
  );

export const pauseSaga = managing(
  {
    operationId: "pauseSaga",
    summary: "Pause a saga",
    description:
      "Nothing is begun until it is resumed, neither a step nor a compensation. What is under way comes to its end and is recorded.",
    status: "200",
    does: "It is paused; also when it was.",
  },
  "saga-ended",
);

export const resumeSaga = managing(
  {
    operationId: "resumeSaga",
    summary: "Resume a saga",
    description: "It goes on where it was. Events that came meanwhile are found; times that ran out are over.",
    status: "200",
    does: "It is not paused; also when it was not.",
  },
  "saga-ended",
);

export const cancelSaga = managing(
  {
    operationId: "cancelSaga",
    summary: "Cancel a saga",
    description:
      "Its completed steps are compensated in reverse. A rest, a sleep or a wait ends at once; a step that is under way comes to its end first, and is compensated too if it completes. A paused saga is cancelled when it is resumed.",
    status: "202",
    does: "It will end Compensated or Failed; also when it was cancelled before.",
  },
  "saga-ended",
);

export const retrySaga = managing(
  {
    operationId: "retrySaga",
    summary: "Try a failed saga again",
    description: "Goes on with the compensation that has failed, with its attempts counted anew.",
    status: "202",
    does: "It is compensated further.",
  },
  "saga-not-failed",
  "saga-misfit",
);
