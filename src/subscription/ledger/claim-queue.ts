// The claims that wait at a desk, in the order in which they are asked for.
import type { Handout } from "./delivery.ts";

/** One consumer that wants events. */
export type Claim = {
  consumer: string;
  max: number;
  visibilityTimeoutMs: number;
  /** The events are given away for good, settled before they are sent, as far as the subscription allows. */
  autoAcknowledge: boolean;
  /** Answered with nothing as soon as there is nothing, instead of waiting. */
  impatient: boolean;
  resolve: (handout: Handout) => void;
  reject: (error: unknown) => void;
};

/** A claim in the queue. */
export type Waiting = Claim & {
  /** In which pass over all claims it was asked for last. */
  asked: number;
  /** How many calls have handed out something to others, and nothing to this one. */
  inVain: number;
  /** As of its last call: what the subscription promises may change while it waits. */
  leased: boolean;
  /** It is part of a call that is under way. */
  isInCall: boolean;
  /** Its time is over: it is answered when that call is. */
  isOver: boolean;
};

/**
 * Gives up. True when the claim has left the queue; false when a call is under way that may hand something out to it, and it is
 * not to leave `atOnce`: it will be answered behind that, for a consumer that is told nothing could be given a later event of
 * a key before an earlier one.
 */
export type GiveUp = (atOnce: boolean) => boolean;

/**
 * Calls that hand out something to others, but nothing to a claim that cannot wait: then there is nothing for it now. In a
 * group what is its may lie further back.
 */
const maxInVain = 2;
const maxInVainOfGroup = 8;
const empty: Handout = { deliveries: [], leases: [] };

export type ClaimQueue = ReturnType<typeof createClaimQueue>;

export function createClaimQueue() {
  let claims: Waiting[] = [];
  /** Counts the passes over all claims: there may be more of them than a call takes, and the first ones may have no credit. */
  let pass = 1;

  function remove(gone: readonly Waiting[]): void {
    claims = claims.filter((claim) => !gone.includes(claim));
  }

  function leave(claim: Waiting, atOnce: boolean): boolean {
    if (claim.isInCall && !atOnce) {
      claim.impatient = true;
      claim.isOver = true;
      return false;
    }
    remove([claim]);
    return true;
  }

  return {
    /** Takes its place behind all others. */
    push(claim: Claim): GiveUp {
      const waiting: Waiting = { ...claim, asked: 0, inVain: 0, leased: true, isInCall: false, isOver: false };
      claims.push(waiting);
      return (atOnce) => leave(waiting, atOnce);
    },
    count: () => claims.length,
    /** Events that all of them want. */
    wanted: () => claims.reduce((sum, { max }) => sum + max, 0),
    isAnyImpatient: () => claims.some((claim) => claim.impatient),
    /** Whether there are some that were not asked for in this pass. */
    isAnyLeft: () => claims.some((claim) => claim.asked !== pass),
    /** The first of them, to be asked for now. */
    ask(most: number): Waiting[] {
      if (claims.every((claim) => claim.asked === pass)) pass++;
      const asking = claims.slice(0, most);
      for (const claim of asking) {
        claim.asked = pass;
        claim.isInCall = true;
      }
      return asking;
    },
    /** The call is answered, and what it gave is handed out. */
    returned(): void {
      for (const claim of claims) claim.isInCall = false;
      const over = claims.filter((claim) => claim.isOver);
      remove(over);
      for (const claim of over) claim.resolve(empty);
    },
    /** All have been asked: whatever comes next is for all of them. */
    passed: () => void pass++,
    has: (claim: Waiting) => claims.includes(claim),
    answer(claim: Waiting, handout: Handout): void {
      remove([claim]);
      claim.resolve(handout);
    },
    answerAll(handout: Handout): void {
      for (const claim of claims.splice(0)) claim.resolve(handout);
    },
    /** Answers all with nothing, or has them answered behind the call under way. */
    dismiss(): void {
      for (const claim of [...claims]) if (leave(claim, false)) claim.resolve(empty);
    },
    answerImpatient(handout: Handout): void {
      const answered = claims.filter((claim) => claim.impatient);
      remove(answered);
      for (const claim of answered) claim.resolve(handout);
    },
    /**
     * Who got nothing is asked again behind those who have waited for longer; who cannot wait does not wait for the others
     * either. `isLeftOver`: there was more than was handed out; where all is gone, it may be the next call's turn.
     */
    passOver(asking: readonly Waiting[], served: readonly Waiting[], isLeftOver: boolean, isGroup: boolean): void {
      const left = asking.filter((claim) => claims.includes(claim));
      // The claims of a member share what is the member's.
      const isServed = (claim: Waiting) =>
        served.includes(claim) || (isGroup && served.some(({ consumer }) => consumer === claim.consumer));
      if (served.length > 0 && isLeftOver) for (const claim of left) if (!isServed(claim)) claim.inVain++;
      const most = isGroup ? maxInVainOfGroup : maxInVain;
      const answered = left.filter((claim) => claim.impatient && claim.inVain >= most);
      remove(left);
      claims.push(...left.filter((claim) => !answered.includes(claim)));
      for (const claim of answered) claim.resolve(empty);
    },
    fail(error: unknown, whom: (claim: Claim) => boolean = () => true): void {
      const failed = claims.filter(whom);
      remove(failed);
      for (const claim of failed) claim.reject(error);
    },
  };
}
