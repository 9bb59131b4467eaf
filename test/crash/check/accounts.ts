// Deciders: the streams fold by the module's own code, no rule is broken, and each decision saw what had been decided.
import type { Entry } from "../history.ts";
import { account, accountLimit } from "../process-module.ts";
import type { ProcessEvent, ProcessSnapshot } from "../process-snapshot.ts";
import { commandRequests, eventsByMark, isAcknowledged } from "./command-attempts.ts";

type State = { balance: number; held: Record<string, number> };

const isAccount = (stream: string) => stream.startsWith("account-");

function evolved(state: State, event: ProcessEvent): State | null {
  const known = account.evolves.find(({ type }) => type.name === event.type);
  return known === undefined ? null : (known.evolve(state, event.data, event as never) as State);
}

export function decisionsKeepTheRules({ events }: ProcessSnapshot): string[] {
  const violations: string[] = [];
  const accounts = Map.groupBy(
    events.filter(({ stream }) => isAccount(stream)),
    ({ stream }) => stream,
  );
  for (const [stream, own] of accounts) {
    let state: State = account.initialState;
    for (const [i, event] of own.entries()) {
      const where = `${stream} ${event.offset} (${event.type} of ${event.data.mark})`;
      if (event.offset !== i) violations.push(`${where} is its event ${i}`);
      if (event.data.before !== state.balance)
        violations.push(`${where} was decided on a balance of ${event.data.before}, and it was ${state.balance}`);
      const by = String(event.data.by);
      const isHeld = Object.hasOwn(state.held, by);
      if (event.type === "Held" && isHeld) violations.push(`${where} holds what is held`);
      if (event.type === "GivenBack" || event.type === "Settled") {
        if (!isHeld) violations.push(`${where} ends what is not held`);
        else if (state.held[by] !== event.data.amount)
          violations.push(`${where} ends ${event.data.amount}, and ${state.held[by]} is held`);
      }
      const next = evolved(state, event);
      if (next === null) {
        violations.push(`${where} is none of the decider's`);
        continue;
      }
      state = next;
      const total = Object.values(state.held).reduce((sum, one) => sum + one, state.balance);
      if (state.balance < 0) violations.push(`${where} makes the balance ${state.balance}`);
      if (total > accountLimit) violations.push(`${where} makes it ${total} together, above ${accountLimit}`);
    }
  }
  return violations;
}

/** A refusal names the balance that made it, which the account must have had while the command was asked. */
export function refusalsToldTheBalance(history: readonly Entry[], { events }: ProcessSnapshot): string[] {
  const violations: string[] = [];
  const requests = commandRequests(history);
  const marks = eventsByMark(events);
  /** By stream: what was acknowledged until when, and what was asked for from when on. */
  const known = [...requests].flatMap(([mark, attempts]) =>
    (marks.get(mark) ?? []).map(({ stream, offset }) => ({
      ...{ stream, offset, begunAt: Math.min(...attempts.map(({ at }) => at)) },
      endedAt: Math.min(...attempts.filter(isAcknowledged).map(({ answer }) => answer?.at as number)),
    })),
  );
  const byStream = Map.groupBy(known, ({ stream }) => stream);
  const balances = new Map(
    [...Map.groupBy(events, ({ stream }) => stream)]
      .filter(([stream]) => isAccount(stream))
      .map(([stream, own]) => [stream, balancesOf(own)]),
  );
  for (const attempt of [...requests.values()].flat()) {
    const { decidedOn, answer, at } = attempt;
    if (decidedOn === null || answer?.reason !== "command-rejected" || answer.balance === null) continue;
    const of = balances.get(decidedOn) ?? [0];
    const others = byStream.get(decidedOn) ?? [];
    // The state behind so many events: at least those that were acknowledged before, none that was not asked for yet.
    const least = Math.max(0, ...others.filter(({ endedAt }) => endedAt < at).map(({ offset }) => offset + 1));
    const most = Math.min(
      of.length - 1,
      ...others.filter(({ begunAt }) => begunAt > answer.at).map(({ offset }) => offset),
    );
    if (!of.slice(least, most + 1).includes(answer.balance))
      violations.push(
        `${attempt.mark} was refused at a balance of ${answer.balance}, which ${decidedOn} had not behind ${least} to ${most} events`,
      );
  }
  return violations;
}

/** Behind no event, behind the first, and so on. */
function balancesOf(events: readonly ProcessEvent[]): number[] {
  let state: State = account.initialState;
  const balances = [state.balance];
  for (const event of events) {
    state = evolved(state, event) ?? state;
    balances.push(state.balance);
  }
  return balances;
}
