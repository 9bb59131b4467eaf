// Sagas that wait by something else than their correlation, and that go on when what they wait for does not come.
import { defineEvent, defineModule, defineSaga, Type } from "../../../src/workflow/index.ts";

export const Answered = defineEvent("MatchAnswered", Type.Object({ answer: Type.String() }));

const data = Type.Object({
  key: Type.String(),
  other: Type.Optional(Type.String()),
  answer: Type.Optional(Type.String()),
  isLate: Type.Optional(Type.Boolean()),
  did: Type.Optional(Type.String()),
});

const take = ({ answer }: { answer: string }) => ({ answer });
const did = {
  execute: ({ answer, isLate }: { answer?: string; isLate?: boolean }) => ({
    did: isLate === true ? "without" : `with ${answer ?? "none"}`,
  }),
};

export const byStream = defineSaga("by-stream", { data })
  .waitFor("answer", Answered, { match: { stream: ({ key }) => `answers-${key}` }, take })
  .step("do", did);
export const bySubject = defineSaga("by-subject", { data })
  .waitFor("answer", Answered, { match: { subject: ({ key }) => key }, take })
  .step("do", did);
export const byKey = defineSaga("by-key", { data })
  .waitFor("answer", Answered, { match: { partitionKey: ({ key }) => key }, take })
  .waitFor("other", Answered, {
    match: { partitionKey: ({ other, key }) => other ?? key },
    take: ({ answer }, before) => ({ answer: `${before.answer ?? ""} ${answer}` }),
  })
  .step("do", did);
export const late = defineSaga("late", { data })
  .waitFor("answer", Answered, { timeout: "300ms", take, onTimeout: ({ key }) => ({ isLate: true, other: key }) })
  .step("do", did);
export const lenient = defineSaga("lenient", { data })
  .waitFor("answer", Answered, { timeout: "50ms", onTimeout: "continue" })
  .step("do", did);
export const strict = defineSaga("strict", { data })
  .waitFor("answer", Answered, { timeout: "50ms", onTimeout: "fail" })
  .step("do", did);
/** Its code comes to no key, and to additions that are none. */
export const wrong = defineSaga("wrong", { data }).waitFor("answer", Answered, {
  match: { subject: ({ other }) => other as string },
});
export const unfit = defineSaga("unfit", { data }).waitFor("answer", Answered, {
  timeout: "10ms",
  onTimeout: () => ({ isLate: "yes" as unknown as boolean }),
});

export default defineModule({
  name: "matches",
  events: [Answered],
  sagas: [byStream, bySubject, byKey, late, lenient, strict, wrong, unfit],
});
