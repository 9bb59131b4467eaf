// Reads deliveries out of answers and frames as fast as can be, and checks that none comes twice.

export type Tally = {
  /** Takes the deliveries of an answer or of frames; returns their tokens, the values of the attribute named so. */
  add: (text: string, tokenName: string) => string[];
  count: () => number;
  /** Throws unless all messages came. */
  requireAll: () => void;
};

/**
 * Looks for the two attributes that matter instead of parsing all the JSON: no payload of the bench has one of that name.
 * With keys, an offset's remainder is its key, and the offsets of each key must come in order.
 */
export function createTally(messages: number, keys?: number): Tally {
  const seen = new Uint8Array(messages);
  const lastOfKey = keys === undefined ? null : new Int32Array(keys).fill(-1);
  let count = 0;

  function take(offset: number): void {
    if (!(offset < messages))
      throw new Error(`an event of offset ${offset} was delivered, beyond the ${messages} there are`);
    if (seen[offset] !== 0) throw new Error(`the event of offset ${offset} was delivered twice`);
    seen[offset] = 1;
    count++;
    if (lastOfKey === null) return;
    const key = offset % lastOfKey.length;
    const last = lastOfKey[key] as number;
    if (offset < last) throw new Error(`the event of offset ${offset} came after ${last}, of the same key`);
    lastOfKey[key] = offset;
  }

  return {
    count: () => count,
    add(text, tokenName) {
      const offsets = valuesOf(text, '"offset":"');
      const tokens = valuesOf(text, `"${tokenName}":"`);
      if (offsets.length !== tokens.length)
        throw new Error(`${tokens.length} tokens for ${offsets.length} events: ${text.slice(0, 500)}`);
      for (const offset of offsets) take(Number(offset));
      return tokens;
    },
    requireAll() {
      if (count !== messages) throw new Error(`${count} of ${messages} messages were delivered`);
    },
  };
}

/** The texts that stand behind each of the marks, up to the next quotation mark. */
function valuesOf(text: string, mark: string): string[] {
  const values: string[] = [];
  for (let at = text.indexOf(mark); at >= 0; at = text.indexOf(mark, at)) {
    const end = text.indexOf('"', at + mark.length);
    values.push(text.slice(at + mark.length, end));
    at = end;
  }
  return values;
}
