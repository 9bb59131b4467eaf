// As which versions somebody wants to have events: as they are stored, as the newest, or as ones that are named.
import type { Violation } from "../../base/errors.ts";
import type { Registry } from "./registry.ts";
import { isEventType, maxVersion } from "./schema-version.ts";

export type Target = {
  /** Types that are not named: a number is a version, or the newest where a type has no such version. */
  others: "stored" | "latest" | number;
  versions: ReadonlyMap<string, number>;
  /** Equal for equal targets; what `parseTarget` takes. */
  key: string;
};

export const asStored: Target = { others: "stored", versions: new Map(), key: "stored" };
const asLatest: Target = { others: "latest", versions: new Map(), key: "latest" };

const maxNamed = 100;
const meaning = "is stored, latest, a version, or types with versions such as UserAdded@2, separated by commas";

/** The target that a text stands for; a string says what is wrong with it. */
export function parseTarget(text: string): Target | string {
  let others: Target["others"] | null = null;
  const versions = new Map<string, number>();
  for (const part of text.split(",")) {
    const at = part.lastIndexOf("@");
    const version = readVersionNumber(at === -1 ? part : part.slice(at + 1));
    if (at !== -1) {
      const type = part.slice(0, at);
      if (version === null || !isEventType(type)) return meaning;
      if (versions.has(type)) return `names ${type} more than once`;
      versions.set(type, version);
    } else {
      const word = part === "stored" || part === "latest" ? part : version;
      if (word === null || others !== null) return meaning;
      others = word;
    }
  }
  if (versions.size > maxNamed) return `names at most ${maxNamed} types`;
  return targetOf(others ?? "stored", versions);
}

/** A version of a type: 1 to 999999999. Null for anything else. */
export function readVersionNumber(text: string): number | null {
  return /^[1-9]\d{0,8}$/.test(text) && Number(text) <= maxVersion ? Number(text) : null;
}

/** Named types as the versions given, all others in one way. */
export function targetOf(others: Target["others"], versions: ReadonlyMap<string, number>): Target {
  if (versions.size === 0 && others === "stored") return asStored;
  if (versions.size === 0 && others === "latest") return asLatest;
  const named = [...versions].sort(([a], [b]) => (a < b ? -1 : 1));
  const key = [...(others === "stored" ? [] : [others]), ...named.map(([type, version]) => `${type}@${version}`)].join(
    ",",
  );
  return { others, versions: new Map(named), key };
}

/** Types and versions that are named and not there; the registry is looked at anew before something is said to be missing. */
export async function checkTarget(
  registry: Pick<Registry, "latest" | "refresh">,
  target: Target,
): Promise<string | null> {
  const missing = () => [...target.versions].find(([type, version]) => registry.latest(type) < version);
  if (missing() === undefined) return null;
  await registry.refresh();
  const found = missing();
  if (found === undefined) return null;
  const [type, version] = found;
  const latest = registry.latest(type);
  return latest === 0 ? `${type} has no schema` : `${type} has versions 1 to ${latest}, and no version ${version}`;
}

/** As which version an event is wanted; never an older one than it is stored as, since nothing goes back. */
export function wantedVersion(target: Target, type: string, stored: number, latest: number): number {
  const wanted = target.versions.get(type) ?? target.others;
  const version = wanted === "stored" ? stored : wanted === "latest" ? latest : Math.min(wanted, latest);
  return Math.max(stored, version);
}

/** As it stands in the database; null for events as they are stored. */
export function targetColumn({
  others,
  versions,
}: Target): { others: Target["others"]; versions: Record<string, number> } | null {
  return others === "stored" && versions.size === 0 ? null : { others, versions: Object.fromEntries(versions) };
}

export function targetFromColumn(column: ReturnType<typeof targetColumn>): Target {
  return column === null ? asStored : targetOf(column.others, new Map(Object.entries(column.versions)));
}

/** The target of a body's member: text, or a version alone. Violations are collected. */
export function targetOfBody(value: string | number, path: string, violations: Violation[]): Target {
  const parsed = parseTarget(String(value));
  if (typeof parsed !== "string") return parsed;
  violations.push({ path, message: parsed });
  return asStored;
}
