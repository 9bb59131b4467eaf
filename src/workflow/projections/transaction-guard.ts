// The transaction as handlers see it: what they still ask of it once it is over is refused.
import type { ProjectionSql } from "./definition.ts";

export type GuardedTransaction = {
  sql: ProjectionSql;
  /** Nothing is sent from here on. */
  close: () => void;
};

/** A query of postgres.js: sent by its handler, when somebody waits for it. */
type Query = { handler?: (query: Query) => unknown; reject: (reason: unknown) => void };

/**
 * A handler that has met its time limit goes on running, and the connection serves others by then: a query that it sends, or that it
 * made before and waits for only now, would be one of theirs.
 */
export function guardTransaction(transaction: ProjectionSql): GuardedTransaction {
  let open = true;
  const refusal = () => new Error("the transaction of the handler is over");

  /** What is made of the transaction: queries are held to it, and everything else is as it is. */
  function held(made: unknown): unknown {
    const query = made as Query;
    const send = query?.handler;
    if (typeof send !== "function" || typeof query.reject !== "function") return made;
    query.handler = (sent) => (open ? send(sent) : sent.reject(refusal()));
    return made;
  }
  const requireOpen = () => {
    if (!open) throw refusal();
  };

  const sql = new Proxy(transaction, {
    apply(target, self, given) {
      requireOpen();
      return held(Reflect.apply(target, self, given));
    },
    get(target, name, self) {
      const member: unknown = Reflect.get(target, name, self);
      if (typeof member !== "function") return member;
      if (name === "savepoint")
        return (...given: unknown[]) => {
          requireOpen();
          const task = given.pop() as (sql: ProjectionSql) => unknown;
          const inner = (nested: ProjectionSql) => task(guarded(nested));
          return Reflect.apply(member, target, [...given, inner]);
        };
      return (...given: unknown[]) => {
        requireOpen();
        return held(Reflect.apply(member, target, given));
      };
    },
  });
  const nested: GuardedTransaction[] = [];
  const guarded = (inner: ProjectionSql) => {
    const own = guardTransaction(inner);
    nested.push(own);
    return own.sql;
  };
  return {
    sql,
    close() {
      open = false;
      for (const own of nested) own.close();
    },
  };
}
