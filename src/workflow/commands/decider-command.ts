// Commands of deciders: what they come to is decided on the state of a stream.
import type { Appended } from "../../stream/append.ts";
import type { DeciderDefinition } from "../deciders/decider.ts";
import type { Deciders } from "../deciders/deciders.ts";
import type { Runnable } from "./command-runner.ts";
import { orOutage } from "./outage.ts";

export function deciderCommands(decider: DeciderDefinition, deciders: Pick<Deciders, "run">): Runnable[] {
  return decider.commands.map((command) => ({
    name: command.name,
    description: command.description,
    body: command.body,
    result: command.result,
    async execute(body, { cause, signal, commit }) {
      const deciding = deciders.run(decider, command, body, {
        cause,
        signal,
        commit: async (stream, events, expected, decided) =>
          (await commit([{ stream, events, expected }], decided ?? null))[0] as Appended,
      });
      // Nothing of a decider asks a database: what fails so is the reading of its stream.
      const { appended, result } = await orOutage(deciding, false);
      if (appended === null) await commit([], result ?? null);
    },
  }));
}
