// Hops from a version of an event type to the next, as code and as JSONata: both make the same of the same data.

/** Data that hops are tried with: objects that always have an id, so that none of them ends up empty. */
export type Shape = { id: number; [field: string]: unknown };

export type Hop =
  | { op: "rename"; from: string; to: string }
  | { op: "split"; field: string }
  | { op: "constant"; field: string; value: string | number | null }
  | { op: "nest" }
  /** Fails for data that have the field. */
  | { op: "refuse"; field: string };

export function applyHop(hop: Hop, data: Shape): Shape {
  switch (hop.op) {
    case "rename": {
      const { [hop.from]: value, ...rest } = data;
      return (hop.from in data ? { ...rest, [hop.to]: value } : data) as Shape;
    }
    case "split": {
      const { [hop.field]: value, ...rest } = data;
      if (typeof value !== "string") return data;
      const at = value.indexOf(" ");
      const [before, after] = at === -1 ? [value, value] : [value.slice(0, at), value.slice(at + 1)];
      return { ...rest, [`${hop.field}1`]: before, [`${hop.field}2`]: after } as Shape;
    }
    case "constant":
      return { ...data, [hop.field]: hop.value };
    case "nest":
      return { id: data.id, inner: data };
    case "refuse":
      if (hop.field in data) throw new Error(`${hop.field} is refused`);
      return data;
    default:
      return hop satisfies never;
  }
}

export function expressionOf(hop: Hop): string {
  const without = (field: string) => `$sift($, function($value, $name) { $name != "${field}" })`;
  switch (hop.op) {
    case "rename":
      return `$exists(${hop.from}) ? $merge([${without(hop.from)}, {"${hop.to}": ${hop.from}}]) : $`;
    case "split": {
      const { field } = hop;
      const halves = `{"${field}1": $substringBefore(${field}, " "), "${field}2": $substringAfter(${field}, " ")}`;
      return `$type(${field}) = "string" ? $merge([${without(field)}, ${halves}]) : $`;
    }
    case "constant":
      return `$merge([$, {"${hop.field}": ${JSON.stringify(hop.value)}}])`;
    case "nest":
      return '{"id": id, "inner": $}';
    case "refuse":
      return `$exists(${hop.field}) ? $error("${hop.field} is refused") : $`;
    default:
      return hop satisfies never;
  }
}
