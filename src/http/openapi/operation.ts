// What an operation of the OpenAPI document consists of (OpenAPI 3.1, section 4.8), and the pieces they share.
import { catalogue, type ProblemCode } from "../../base/errors.ts";

/** A JSON Schema (2020-12), or a reference to one. */
export type Schema = { readonly [keyword: string]: unknown };

type Reference = { $ref: string };

export type Example = { summary?: string; value: unknown } | Reference;

export type MediaType = { schema: Schema; examples?: Record<string, Example> };

export type Header = { description: string; schema: Schema };

export type ResponseObject = {
  description: string;
  headers?: Record<string, Header | Reference>;
  content?: Record<string, MediaType>;
};

export type Parameter = {
  name: string;
  in: "path" | "query" | "header";
  required?: true;
  description: string;
  style?: "form" | "simple";
  explode?: boolean;
  schema: Schema;
};

export type Tag =
  | "Events"
  | "Streams"
  | "Subscriptions"
  | "Live connections"
  | "Locks"
  | "Schemas"
  | "Commands"
  | "Projections"
  | "Sagas"
  | "Outbox"
  | "Bridge"
  | "Remote streams"
  | "Operations";

export type Operation = {
  operationId: string;
  summary: string;
  description: string;
  tags: Tag[];
  parameters?: (Parameter | Reference)[];
  requestBody?: { required: boolean; description: string; content: Record<string, MediaType> };
  responses: Record<string, ResponseObject>;
};

type Section = "schemas" | "parameters" | "headers" | "examples";

/** A reference to a component. */
export function component(section: Section, name: string): Reference {
  return { $ref: `#/components/${section}/${name}` };
}

/** What a request of any kind can be answered with when the service or its database fails. */
export const serviceFailures = ["internal-error", "storage-unavailable"] as const satisfies ProblemCode[];

/** The answers for these codes of the catalogue, one a status. */
export function problems(...codes: ProblemCode[]): Record<string, ResponseObject> {
  const byStatus = new Map<number, ProblemCode[]>();
  for (const code of codes) {
    const { status } = catalogue[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  const statuses = [...byStatus].sort(([a], [b]) => a - b);
  return Object.fromEntries(statuses.map(([status, ofStatus]) => [String(status), problemResponse(status, ofStatus)]));
}

function problemResponse(status: number, codes: ProblemCode[]): ResponseObject {
  return {
    description: codes.map((code) => `${catalogue[code].title} (\`${code}\`)`).join(", or: "),
    headers: {
      "X-Request-Id": component("headers", "RequestId"),
      ...(status === 503 || codes.includes("lock-held") ? { "Retry-After": component("headers", "RetryAfter") } : {}),
    },
    content: {
      "application/problem+json": {
        schema: {
          allOf: [component("schemas", "Problem"), { properties: { type: { enum: codes.map(problemType) } } }],
        },
        examples: Object.fromEntries(codes.map((code) => [code, component("examples", code)])),
      },
    },
  };
}

export const problemType = (code: ProblemCode) => `/problems/${code}`;
