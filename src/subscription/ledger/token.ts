// Delivery tokens: they name the lease and the event, and are signed, so that nobody can make one up.
import { createHmac, timingSafeEqual } from "node:crypto";

/** What was handed out to one consumer in one step of a cursor. */
export type Lease = { subscription: number; cursor: number; step: number; part: number };

export type Tokens = {
  /** The part of the token that all events of a lease share. */
  prefix: (lease: Lease) => string;
  /** Null for what is no token of ours. */
  read: (token: string) => { lease: Lease; position: number; prefix: string } | null;
};

/** The token of an event that was given away without a lease: it is settled, whoever asks. */
export const settledToken = "settled";

const signatureLength = 20;
const grammar =
  /^(([0-9a-z]{1,12})\.([0-9a-z]{1,12})\.([0-9a-z]{1,12})\.([0-9a-z]{1,4})\.([\w-]{20})\.)([0-9a-z]{1,12})$/;

/** Tokens under a key that all processes on the database share. */
export function createTokens(key: string): Tokens {
  // Tokens come back in lists of one lease: the last ones are not checked again.
  const checked = new Map<string, Lease | null>();

  function sign(text: string): string {
    return createHmac("sha256", key).update(text).digest("base64url").slice(0, signatureLength);
  }

  function check(prefix: string, parts: readonly string[], signature: string): Lease | null {
    const known = checked.get(prefix);
    if (known !== undefined) return known;
    const text = parts.join(".");
    const [subscription, cursor, step, part] = parts.map((p) => Number.parseInt(p, 36)) as [
      number,
      number,
      number,
      number,
    ];
    const valid = timingSafeEqual(Buffer.from(sign(text)), Buffer.from(signature));
    const lease = valid ? { subscription, cursor, step, part } : null;
    if (checked.size >= 1_000) checked.clear();
    checked.set(prefix, lease);
    return lease;
  }

  return {
    prefix({ subscription, cursor, step, part }) {
      const text = [subscription, cursor, step, part].map((n) => n.toString(36)).join(".");
      return `${text}.${sign(text)}.`;
    },
    read(token) {
      const found = grammar.exec(token);
      if (found === null) return null;
      const prefix = found[1] as string;
      const lease = check(prefix, found.slice(2, 6) as string[], found[6] as string);
      return lease === null ? null : { lease, position: Number.parseInt(found[7] as string, 36), prefix };
    },
  };
}

/** The token of one event of a lease. */
export const tokenOf = (prefix: string, position: number) => prefix + position.toString(36);
