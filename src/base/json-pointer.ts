// JSON Pointers (RFC 6901).

/** A name or an index as one reference token of a pointer, with its slash (section 3). */
export function pointerToken(name: string | number): string {
  return `/${String(name).replaceAll("~", "~0").replaceAll("/", "~1")}`;
}
