// Speaks the contract of subscriptions and queues for tests.
import { type Answer, type Envelope, type ProblemBody, send } from "./client.ts";

export type Delivery = { event: Envelope; token: string; attempt: number; deadline: string | null };

export function post<Body = ProblemBody>(url: string, body: unknown = {}, method = "POST"): Promise<Answer<Body>> {
  return send<Body>(url, { method, headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
}

export const put = <Body = ProblemBody>(url: string, body: unknown = {}) => post<Body>(url, body, "PUT");

/** What can be consumed: a subscription, or the queue of a stream. */
export type Source = { url: string };

export const subscription = (base: string, name: string): Source => ({ url: `${base}/api/subscriptions/${name}` });
export const queue = (base: string, name: string): Source => ({ url: `${base}/api/streams/${name}` });

export async function claim({ url }: Source, body: Record<string, unknown> = {}): Promise<Delivery[]> {
  const answer = await post<{ deliveries: Delivery[] }>(`${url}/claims`, body);
  if (answer.status !== 200) throw new Error(`claim was answered ${answer.status} ${answer.text}`);
  return answer.body.deliveries;
}

export async function ack({ url }: Source, tokens: string[], more: Record<string, unknown> = {}): Promise<string[]> {
  const answer = await post<{ results: string[] }>(`${url}/acks`, { tokens, ...more });
  if (answer.status !== 200) throw new Error(`ack was answered ${answer.status} ${answer.text}`);
  return answer.body.results;
}

export async function nack({ url }: Source, tokens: string[], how: Record<string, unknown> = {}): Promise<string[]> {
  const answer = await post<{ results: string[] }>(`${url}/nacks`, { tokens, ...how });
  if (answer.status !== 200) throw new Error(`nack was answered ${answer.status} ${answer.text}`);
  return answer.body.results;
}

export const offsets = (deliveries: readonly Delivery[]) => deliveries.map(({ event }) => Number(event.offset));
export const tokens = (deliveries: readonly Delivery[]) => deliveries.map(({ token }) => token);
