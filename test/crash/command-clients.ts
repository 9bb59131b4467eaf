// Those who run commands with a key: some on several streams at once, some on accounts, repeated until they know the outcome.
import { setTimeout as sleep } from "node:timers/promises";
import type { History } from "./history.ts";
import type { CommandInvoked } from "./process-history.ts";
import { accountLimit } from "./process-module.ts";
import type { Random } from "./random.ts";
import { createSettledRequests, type Noting, type SettledRequests } from "./settled-requests.ts";

export type ProcessClientsOptions = {
  history: History;
  random: Random;
  ports: readonly number[];
  /** Nothing new after it; what is under way gets its outcome. */
  stop: AbortSignal;
  giveUp: AbortSignal;
};

type Command = Omit<CommandInvoked, "kind" | "op" | "at"> & { body: object };

export const accounts = ["account-a", "account-b", "account-c"] as const;

const noteStreams = ["notes-0", "notes-1", "notes-2", "notes-3"] as const;
const noters = 3;
const spenders = 4;

/** Resolves when each has the outcome of its last request. */
export async function runCommandClients(options: ProcessClientsOptions): Promise<void> {
  const { history, random, stop } = options;
  let op = 0;

  const noting =
    ({ body: _, ...command }: Command): Noting =>
    () => {
      const invoked: CommandInvoked = { kind: "command-invoked", op: op++, at: history.now(), ...command };
      history.add(invoked);
      return ({ outcome, status, reason, body }) => {
        const read = (status === null ? {} : JSON.parse(body)) as {
          events?: { stream: string; offset: string; id: string }[];
          result?: { nonce?: string } | null;
          balance?: number;
          details?: { balance?: number };
        };
        history.add({
          ...{ kind: "command-answered", op: invoked.op, at: history.now(), outcome, status, reason },
          answer: outcome === "acknowledged" ? `${status} ${body}` : null,
          events: (read.events ?? []).map((event) => ({ ...event, offset: Number(event.offset) })),
          nonce: read.result?.nonce ?? null,
          balance: read.details?.balance ?? null,
        });
      };
    };

  async function run(name: string, next: (own: Random, mark: string, n: number) => Command): Promise<void> {
    const own = random.fork(name);
    const requests: SettledRequests = createSettledRequests({ ...options, random: own.fork("requests") });
    const earlier: Command[] = [];
    for (let n = 0; !stop.aborted; n++) {
      const again = earlier.length > 0 && own.chance(0.15);
      const command = again ? own.pick(earlier) : next(own, `${name}-${n}`, n);
      if (!again) earlier.push(command);
      if (earlier.length > 30) earlier.shift();
      const { mark, body } = command;
      const request = { what: `command ${mark}`, path: `/api/commands/${command.command}`, body, key: mark };
      const noted = noting(command);
      // At times several of the same at once, perhaps at both services.
      const beside = own.chance(0.1) ? [requests.attempt(request, noted), requests.attempt(request, noted)] : [];
      if (own.chance(0.75)) await requests.settle(request, noted);
      else await requests.attempt(request, noted);
      await Promise.all(beside);
      await sleep(own.between(5, own.chance(0.05) ? 600 : 60));
    }
  }

  await Promise.all([
    ...Array.from({ length: noters }, (_, i) => run(`noter-${i}`, newNote)),
    ...Array.from({ length: spenders }, (_, i) => run(`spender-${i}`, newSpending)),
  ]);
}

function newNote(random: Random, mark: string): Command {
  const streams = Array.from({ length: random.between(0, 6) }, () => random.pick(noteStreams));
  const isRefused = random.chance(0.12);
  const restMs = random.chance(0.3) ? random.between(1, 40) : 0;
  const body = { mark, streams, isRefused, restMs };
  return { mark, command: "note", of: streams.length, isRefused, decidedOn: null, body };
}

/** First a sum that those who hold something of it begin with, then more than there can be. */
function newSpending(random: Random, mark: string, n: number): Command {
  const stream = n < accounts.length ? (accounts[n] as string) : random.pick(accounts);
  const account = stream.replace("account-", "");
  const base = { mark, isRefused: false, decidedOn: stream };
  if (n < accounts.length || random.chance(0.65))
    return { ...base, command: "deposit", of: 1, body: { account, mark, amount: random.between(40, 110) } };
  const parts = Array.from({ length: random.between(1, 4) }, () => random.between(1, 40));
  if (n === accounts.length) parts.push(accountLimit);
  return { ...base, command: "withdraw", of: parts.length, body: { account, mark, parts } };
}
