// Compares two schemas: what the reader may refuse of the writer's data, place by place and each pair only once.

import { canonical, createIdentities, type Identities } from "../json-schema/identity.ts";
import type { JsonSchema } from "../json-schema/keywords.ts";
import { compareApplied } from "./applicators.ts";
import { compareArrays } from "./arrays.ts";
import { type Comparison, maxFindings } from "./comparison.ts";
import { createDocument, type SchemaDocument } from "./document.ts";
import { compareObjects } from "./objects.ts";
import { compareScalars } from "./scalars.ts";
import { kind, kindsOf } from "./values.ts";
import { createSide, type Side, type Variant } from "./variants.ts";
import { endless, type Finding, refused, tooLarge } from "./wording.ts";

// In small steps, of which a pair of schemas counts for many: enough for 50,000 pairs.
const maxWork = 2_000_000;
const workOfPair = 40;
const maxNesting = 1_000;

/** What `reader` may refuse of the data of `writer`: at most `maxFindings`, and none when it refuses nothing. */
export function findingsBetween(reader: JsonSchema, writer: JsonSchema): Finding[] {
  const comparison = createComparison(reader, writer);
  const findings = comparison.findings();
  if (comparison.spend(0) && findings.length === 0) return [];
  // Equal schemas are compatible even where a reference in them cannot be followed.
  if (canonical(reader) === canonical(writer)) return [];
  return comparison.spend(0) ? distinct(findings).slice(0, maxFindings) : [tooLarge()];
}

function createComparison(readerRoot: JsonSchema, writerRoot: JsonSchema) {
  let work = 0;
  const spend = (more: number) => {
    work += more;
    return work <= maxWork;
  };
  const identities = createIdentities();
  const reader = createSide(createDocument(readerRoot), identities, spend);
  const writer = createSide(createDocument(writerRoot), identities, spend);
  const agrees = createAgreement(reader.document, writer.document, identities);

  const same = (one: JsonSchema, other: JsonSchema): boolean => {
    const { id, references } = identities.of(one);
    return id === identities.of(other).id && references.every(agrees);
  };

  const settled = new Map<string, readonly Finding[]>();
  // The keys of settled pairs without findings, in the order in which they were settled.
  const trail: string[] = [];
  // Pairs under comparison. In a member of the data they are assumed to hold: the data end somewhere.
  const pending = new Map<string, { level: number; assumed: boolean }>();
  let level = 0;

  function accepts(given: JsonSchema, variant: Variant): readonly Finding[] {
    const schema = reader.document.behind(given);
    if (schema === true || variant.schemas.some((other) => same(schema, other))) return [];
    if (schema === false) return [refused()];
    if (pending.size >= maxNesting) spend(maxWork);
    if (!spend(workOfPair + (variant.values?.length ?? 0))) return [tooLarge()];
    const key = `${identities.of(schema).id}|${variant.key}`;
    const known = settled.get(key);
    if (known !== undefined) return known;
    const open = pending.get(key);
    if (open !== undefined) {
      if (open.level === level) return [endless()];
      open.assumed = true;
      return [];
    }
    const pair = { level, assumed: false };
    pending.set(key, pair);
    const start = trail.length;
    const kinds = variant.kinds & kindsOf(schema);
    const findings = distinct([
      ...compareScalars(schema, variant),
      ...((kinds & kind.object) === 0 ? [] : compareObjects(comparison, schema, variant)),
      ...((kinds & kind.array) === 0 ? [] : compareArrays(comparison, schema, variant)),
      ...compareApplied(comparison, schema, variant),
    ]).slice(0, maxFindings);
    pending.delete(key);
    if (findings.length === 0) trail.push(key);
    // What was found to hold because this pair would is open again.
    else if (pair.assumed) for (const other of trail.splice(start)) settled.delete(other);
    settled.set(key, findings);
    return findings;
  }

  function covers(schema: JsonSchema, list: readonly JsonSchema[], side: Side): readonly Finding[] {
    if (!spend(1 + list.length)) return [tooLarge()];
    if (schema === true || list.some((given) => same(schema, given))) return [];
    level++;
    const findings = side.variants(list).flatMap((variant) => accepts(schema, variant));
    level--;
    return findings;
  }

  const comparison: Comparison = { reader, same, accepts, covers, spend };
  return { findings: () => covers(readerRoot, [writerRoot], writer), spend };
}

/** Whether a reference leads to the same on both sides, and whatever is referred to from there too. */
function createAgreement(reader: SchemaDocument, writer: SchemaDocument, { of }: Identities) {
  const known = new Map<string, boolean>();
  return (reference: string): boolean => {
    // Where each reference was met, so that all on the way to a difference are known to differ.
    const metIn = new Map<string, string | null>([[reference, null]]);
    for (const next of known.has(reference) ? [] : metIn.keys()) {
      if (known.get(next) === true) continue;
      const [one, other] = [reader.resolve(next), writer.resolve(next)];
      if (one === null || other === null || of(one).id !== of(other).id || known.get(next) === false) {
        for (let at: string | null = next; at !== null; at = metIn.get(at) ?? null) known.set(at, false);
        return false;
      }
      for (const further of of(one).references) if (!metIn.has(further)) metIn.set(further, next);
    }
    if (!known.has(reference)) for (const met of metIn.keys()) known.set(met, true);
    return known.get(reference) === true;
  };
}

function distinct(findings: readonly Finding[]): Finding[] {
  const byText = new Map(findings.map((finding) => [`${finding.path} ${finding.backward}`, finding]));
  return [...byText.values()];
}
