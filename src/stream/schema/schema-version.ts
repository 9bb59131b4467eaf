// A version of an event type: what its data look like, and how data of the version before become data of this one.

export const compatibilities = ["backward", "forward", "full"] as const;
/**
 * What a new version must hold to: `backward`, it reads what the version before wrote (as its upcaster leaves it); `forward`,
 * the version before reads what it writes; `full`, both.
 */
export type Compatibility = (typeof compatibilities)[number];
export const defaultCompatibility: Compatibility = "backward";

/** From the version before, which it takes the data of. */
export type Upcast = { language: "jsonata"; expression: string } | { language: "code" };

/** Times are RFC 3339. */
export type SchemaVersion = {
  type: string;
  /** From 1, without gaps. */
  version: number;
  description: string | null;
  upcast: Upcast | null;
  /** Data of the version before are valid as they are. */
  readsPrevious: boolean;
  registeredAt: string;
  /** `api`, or `module` and its name. */
  registeredBy: string;
};

export const maxVersion = 999_999_999;
export const maxExpressionLength = 65_536;
export const maxDescriptionLength = 10_000;

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
const controlCharacter = /[\u0000-\u001f\u007f-\u009f]/;

/** Types of events: 1 to 256 characters without control characters; those that begin with `sluice.` are the service's own. */
export function isEventType(text: string): boolean {
  return (
    text.length >= 1 &&
    text.length <= 256 &&
    !controlCharacter.test(text) &&
    text.isWellFormed() &&
    !text.startsWith("sluice.")
  );
}
