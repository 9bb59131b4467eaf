// Walks over JSON text that is known to be well-formed: finds the raw text of members, and what `jsonb` would refuse.

/** A raw value: where its text starts and ends (exclusive). */
export type Span = { start: number; end: number };

/** Why Postgres would refuse the text as `jsonb`, though it is JSON; null when it would not. */
export type Refusal = string | null;

// Of `numeric`: 16,383 digits after the decimal point. Digits and exponent together stay below that.
const maxMagnitude = 16_000;
const maxDepth = 100;

/** Whether JSON text is nested so deeply that what works through it would run out of stack. Each level takes two characters. */
export function isTooDeep(text: string): boolean {
  if (text.length <= 2 * maxDepth) return false;
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 34) {
      // A string ends at the next quote that no backslash stands before.
      for (at++; at < text.length && text.charCodeAt(at) !== 34; at++) if (text.charCodeAt(at) === 92) at++;
    } else if (code === 123 || code === 91) {
      if (++depth > maxDepth) return true;
    } else if (code === 125 || code === 93) depth--;
  }
  return false;
}

/**
 * A cursor over the text; `text` must have passed `JSON.parse`. `refusal` collects the first thing that `jsonb` refuses:
 * U+0000, a lone surrogate, a number out of the range of `numeric`, or nesting deeper than `maxDepth`.
 */
export class JsonWalk {
  at = 0;
  refusal: Refusal = null;

  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  /** Skips white space (RFC 8259 section 2) and returns the code of the next character. */
  peek(): number {
    let code = this.text.charCodeAt(this.at);
    while (code === 32 || code === 10 || code === 13 || code === 9) code = this.text.charCodeAt(++this.at);
    return code;
  }

  /** The elements of an array at the cursor, one call of `visit` each, which must pass over its element. */
  elements(visit: (index: number) => void): void {
    this.peek();
    this.at++;
    if (this.peek() === 93) {
      this.at++;
      return;
    }
    for (let index = 0; ; index++) {
      this.peek();
      visit(index);
      if (this.peek() === 93) break;
      this.at++;
    }
    this.at++;
  }

  /** The last member of that name of the object at the cursor; passes over the object. */
  member(name: string): Span | null {
    let found: Span | null = null;
    this.peek();
    this.at++;
    if (this.peek() === 125) {
      this.at++;
      return found;
    }
    for (;;) {
      this.peek();
      const keyStart = this.at;
      this.string();
      const raw = this.text.slice(keyStart + 1, this.at - 1);
      const key = raw.includes("\\") ? (JSON.parse(`"${raw}"`) as string) : raw;
      this.peek();
      this.at++;
      this.peek();
      const start = this.at;
      this.value();
      if (key === name) found = { start, end: this.at };
      if (this.peek() === 125) break;
      this.at++;
    }
    this.at++;
    return found;
  }

  /** Passes over the value at the cursor. */
  value(): void {
    let depth = 0;
    const { text } = this;
    do {
      const code = this.peek();
      if (code === 34) this.string();
      else if (code === 123 || code === 91) {
        if (++depth > maxDepth) this.refusal ??= `is nested deeper than ${maxDepth} levels`;
        this.at++;
      } else if (code === 125 || code === 93) {
        depth--;
        this.at++;
      } else if (code === 44 || code === 58) this.at++;
      else if (code === 45 || (code >= 48 && code <= 57)) this.number();
      else if (code === 102) this.at += 5;
      else if (code === 116 || code === 110) this.at += 4;
      else throw new Error(`not JSON at ${this.at} of ${text.length}`);
    } while (depth > 0);
  }

  private string(): void {
    const { text } = this;
    for (this.at++; ; this.at++) {
      const code = text.charCodeAt(this.at);
      if (code === 34) break;
      if (code === 92) {
        this.at++;
        if (text.charCodeAt(this.at) === 117) this.escape();
      }
    }
    this.at++;
  }

  /** At the `u` of a `\u` escape; leaves the cursor at its last digit. */
  private escape(): void {
    const unit = Number.parseInt(this.text.slice(this.at + 1, this.at + 5), 16);
    this.at += 4;
    if (unit === 0) this.refusal ??= "contains the character U+0000, which the database cannot hold";
    else if (unit >= 0xd800 && unit <= 0xdbff) {
      const next = /^\\u(d[c-f][0-9a-f]{2})/i.test(this.text.slice(this.at + 1, this.at + 7));
      if (next) this.at += 6;
      else this.refusal ??= "contains a lone surrogate, which is not a character";
    } else if (unit >= 0xdc00 && unit <= 0xdfff) this.refusal ??= "contains a lone surrogate, which is not a character";
  }

  private number(): void {
    const { text } = this;
    const start = this.at;
    let exponentAt = 0;
    for (; ; this.at++) {
      const code = text.charCodeAt(this.at);
      if (code === 101 || code === 69) exponentAt = this.at + 1;
      else if (!((code >= 48 && code <= 57) || code === 46 || code === 45 || code === 43)) break;
    }
    const digitsEnd = exponentAt === 0 ? this.at : exponentAt - 1;
    const exponent = exponentAt === 0 ? 0 : Math.abs(Number(text.slice(exponentAt, this.at)));
    if (exponent + digitsEnd - start > maxMagnitude) {
      this.refusal ??= "contains a number that is out of the database's range";
    }
  }
}
