// Invariant 12: after the clients have left, nothing of theirs is counted as open, and memory and connections are within bounds.

/** What is left of a service when its clients have gone. */
export type Remains = {
  service: number;
  /** What clients hold open, by its kind. */
  open: Record<string, number>;
  rssBytes: number;
  /** Sockets that the process holds open. */
  sockets: number;
  /** Connections from the service to Postgres. */
  databaseConnections: number;
};

export type RestLimits = { rssBytes: number; sockets: number; databaseConnections: number };

export function nothingIsLeft(remains: readonly Remains[], limits: RestLimits): string[] {
  const violations: string[] = [];
  for (const { service, open, rssBytes, sockets, databaseConnections } of remains) {
    for (const [what, count] of Object.entries(open))
      if (count !== 0) violations.push(`service ${service} still counts ${count} ${what}`);
    if (rssBytes > limits.rssBytes) violations.push(`service ${service} holds ${Math.round(rssBytes / 1e6)} MB`);
    if (sockets > limits.sockets) violations.push(`service ${service} holds ${sockets} sockets open`);
    if (databaseConnections > limits.databaseConnections)
      violations.push(`service ${service} holds ${databaseConnections} connections to Postgres`);
  }
  return violations;
}
