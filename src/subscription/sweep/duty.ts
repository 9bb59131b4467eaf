// What a duty of the sweep is.

/** Goes on until it is done, or `more` says that its time is over; then it goes on in the next round. */
export type SweepDuty = (more: () => boolean) => Promise<void>;
