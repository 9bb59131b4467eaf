// Speaks the contract of the schema registry for tests.
import { expect } from "bun:test";
import { type Answer, send } from "./client.ts";
import { post, put } from "./consume.ts";

export type Version = {
  type: string;
  version: string;
  schema: unknown;
  description: string | null;
  upcast: { language: string; expression?: string } | null;
  registeredAt: string;
  registeredBy: string;
};
export type TypeBody = { type: string; compatibility: string; versions: Omit<Version, "type" | "schema">[] };
export type Upcasted = { type: string; from: string; to: string; data: unknown; valid: boolean; errors: unknown[] };

export const typeUrl = (base: string, type: string) => `${base}/api/schemas/${encodeURIComponent(type)}`;
export const versionUrl = (base: string, type: string, version: number) => `${typeUrl(base, type)}/versions/${version}`;

export const jsonata = (expression: string) => ({ language: "jsonata", expression });

/** The schema of an object that has all of these members. */
export const object = (properties: Record<string, unknown>) => ({
  type: "object",
  properties,
  required: Object.keys(properties),
});
export const text = { type: "string" };
export const number = { type: "number" };

export function proposeVersion<Body = Version>(
  base: string,
  type: string,
  version: number,
  body: unknown,
  query = "",
): Promise<Answer<Body>> {
  return put<Body>(`${versionUrl(base, type, version)}${query}`, body);
}

/** Registers versions of a type, from the first: each is a schema, or what is sent. */
export async function registerVersions(base: string, type: string, versions: readonly unknown[]): Promise<void> {
  for (const [n, given] of versions.entries()) {
    const isBody = typeof given === "object" && given !== null && "schema" in given;
    const answer = await proposeVersion(base, type, n + 1, isBody ? given : { schema: given });
    expect([200, 201], answer.text).toContain(answer.status);
  }
}

/** Three versions of a person: one name, two names, and an object of them. */
export const people = [
  object({ name: text }),
  {
    schema: object({ first: text, last: text }),
    upcast: jsonata('{"first": $substringBefore(name, " "), "last": $substringAfter(name, " ")}'),
  },
  { schema: object({ name: object({ first: text, last: text }) }), upcast: jsonata('{"name": $}') },
];

export const preview = (base: string, type: string, body: unknown) =>
  post<Upcasted>(`${typeUrl(base, type)}/upcast`, body);

export const removeVersion = (base: string, type: string, version: number) =>
  send(versionUrl(base, type, version), { method: "DELETE" });
