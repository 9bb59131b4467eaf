// Sagas over HTTP: starts them, and waits until they are as they should be.
import type { SagaStatus } from "../../src/workflow/sagas/register.ts";
import { type Answer, type Envelope, send } from "./client.ts";
import { until } from "./until.ts";

export type Saga = SagaStatus & { data: Record<string, unknown> };

/** A place where sagas are started. */
export type Place = { url: string };

let correlations = 0;
export const newCorrelation = () => `correlation-${++correlations}`;

export function startSaga<Body = { sagaId: string; correlationId: string }>(
  { url }: Place,
  saga: string,
  input: unknown = { name: "n" },
  headers: Record<string, string> = {},
): Promise<Answer<Body>> {
  return send<Body>(`${url}/api/sagas/${saga}/start`, { method: "POST", headers, body: JSON.stringify(input) });
}

/** Starts one of a correlation; returns its id. */
export async function begin(place: Place, saga: string, correlation: string, input?: unknown): Promise<string> {
  const { status, body, text } = await startSaga(place, saga, input, { "correlation-id": correlation });
  if (status !== 202) throw new Error(`${saga} was not started: ${status} ${text}`);
  return body.sagaId;
}

export async function sagaOf({ url }: Place, id: string): Promise<Saga> {
  const { status, body, text } = await send<Saga>(`${url}/api/sagas/${id}/status`);
  if (status !== 200) throw new Error(`the saga ${id} is not shown: ${status} ${text}`);
  return body;
}

export function manage<Body = Saga>({ url }: Place, id: string, what: string): Promise<Answer<Body>> {
  return send<Body>(`${url}/api/sagas/${id}/${what}`, { method: "POST" });
}

/** The saga, once it is so. */
export async function untilSaga(place: Place, id: string, what: string, is: (saga: Saga) => boolean): Promise<Saga> {
  let last: Saga | null = null;
  try {
    return await until(`the saga ${what}`, async () => {
      last = await sagaOf(place, id);
      return is(last) ? last : null;
    });
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : error}: ${JSON.stringify(last)}`);
  }
}

export const untilState = (place: Place, id: string, state: SagaStatus["state"]) =>
  untilSaga(place, id, `is ${state}`, (saga) => saga.state === state);

/** The transitions of a saga, in order, as its stream tells of them; waits for the last one. */
export async function transitionsOf({ url }: Place, saga: string, id: string, last: string): Promise<Envelope[]> {
  return until(`the transition ${last} is told`, async () => {
    const answer = await send<{ events?: Envelope[] }>(
      `${url}/api/streams/saga-${saga}/events?key=${id}&limit=1000&from=beginning`,
    );
    const events = answer.body.events ?? [];
    return events.at(-1)?.type === `sluice.saga-${last}` ? events : null;
  });
}

/** Types without what they have in common, with their steps. */
export const inShort = (events: readonly Envelope[]) =>
  events.map(({ type, data }) => {
    const { step } = data as { step?: string };
    return `${String(type).replace("sluice.saga-", "")}${step === undefined ? "" : ` ${step}`}`;
  });
