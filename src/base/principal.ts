// Who asks, and what they may see and do; every read and append carries one.

export type Principal = {
  /** Stands in logs and scopes idempotency keys; two principals of one name have the same rights. */
  readonly name: string;
  canRead(stream: string): boolean;
  canAppend(stream: string): boolean;
  canManage(stream: string): boolean;
};

/** The principal of a service without authentication: everyone, allowed everything. */
export const everyone: Principal = {
  name: "everyone",
  canRead: () => true,
  canAppend: () => true,
  canManage: () => true,
};
