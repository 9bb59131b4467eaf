// Compares two schemas: what the reader may refuse of the writer's data, place by place and each pair only once.
import { compareApplied } from "./applicators.ts";
import { compareArrays } from "./arrays.ts";
import { type Comparison, maxFindings } from "./comparison.ts";
import { createDocument } from "./document.ts";
import { canonical, createIdentities } from "./identity.ts";
import type { JsonSchema } from "./keywords.ts";
import { compareObjects } from "./objects.ts";
import { compareScalars } from "./scalars.ts";
import { kind, kindsOf } from "./values.ts";
import { createSide, type Side, type Variant } from "./variants.ts";
import { endless, type Finding, refused, tooLarge } from "./wording.ts";

// Enough for 50,000 pairs of schemas, and about as much of the small steps between them.
const maxWork = 4_000_000;
const workOfPair = 40;
const maxNesting = 1_000;

/** What `reader` may refuse of the data of `writer`: at most `maxFindings`, and none when it refuses nothing. */
export function findingsBetween(reader: JsonSchema, writer: JsonSchema): Finding[] {
  if (canonical(reader) === canonical(writer)) return [];
  const comparison = createComparison(reader, writer);
  const findings = comparison.findings();
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
  const agrees = createAgreement(reader, writer, (schema) => identities.of(schema));

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

  function accepts(schema: JsonSchema, variant: Variant): readonly Finding[] {
    if (schema === true || variant.schemas.some((given) => same(schema, given))) return [];
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
function createAgreement(
  reader: Side,
  writer: Side,
  identityOf: (schema: JsonSchema) => { id: number; references: readonly string[] },
) {
  const known = new Map<string, boolean>();
  return (reference: string): boolean => {
    const before = known.get(reference);
    if (before !== undefined) return before;
    const reached = new Set([reference]);
    for (const next of reached) {
      const [one, other] = [reader.document.resolve(next), writer.document.resolve(next)];
      const identity = one === null ? null : identityOf(one);
      if (identity === null || other === null || identity.id !== identityOf(other).id || known.get(next) === false) {
        known.set(reference, false);
        return false;
      }
      if (known.get(next) !== true) for (const further of identity.references) reached.add(further);
    }
    for (const all of reached) known.set(all, true);
    return true;
  };
}

function distinct(findings: readonly Finding[]): Finding[] {
  const byText = new Map(findings.map((finding) => [`${finding.path} ${finding.backward}`, finding]));
  return [...byText.values()];
}
