// Frames of what a subscription hands out: each envelope bears how to settle it (CloudEvents extension attributes).
import { envelope, type SchemaLinks } from "../stream/event.ts";
import type { Delivery } from "../subscription/ledger/delivery.ts";
import { nameOf } from "./sse-frame.ts";

export type DeliveryForm = {
  /** Frames bear their event's type. */
  named: boolean;
  /** Frames bear their event's position as id. */
  ids: boolean;
  /** Stands in each envelope where several subscriptions share a connection. */
  subscription: string | null;
};

const encoder = new TextEncoder();

export function encodeDeliveries(
  deliveries: readonly Delivery[],
  { named, ids, subscription }: DeliveryForm,
  schemas: SchemaLinks,
): Uint8Array {
  let text = "";
  const from = subscription === null ? "" : `,"deliverysubscription":"${subscription}"`;
  for (const { event, token, attempt, deadline } of deliveries) {
    if (ids) text += `id: ${event.position}\n`;
    const name = named ? nameOf(event) : null;
    if (name !== null) text += `event: ${name}\n`;
    const settling = deadline === null ? "" : `,"deliverytoken":"${token}","deliverydeadline":"${deadline}"`;
    text += `data: ${envelope(event, schemas).slice(0, -1)}${from}${settling},"deliveryattempt":${attempt}}\n\n`;
  }
  return encoder.encode(text);
}
