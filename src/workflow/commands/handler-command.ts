// Commands whose handler emits events to any streams.
import type { Violation } from "../../base/errors.ts";
import type { NewEvent } from "../../stream/event.ts";
import { maxEventsPerAppend } from "../../stream/event-input.ts";
import type { DraftEvent } from "../events/draft-event.ts";
import { type Emission, refusedEmission } from "../events/emission.ts";
import type { Defect } from "../handlers/defect.ts";
import { withTimeLimit } from "../handlers/time-limit.ts";
import { nameOf } from "../module/stream-definition.ts";
import type { CommandDefinition, PendingEvent, Workflow } from "./command.ts";
import type { EmittedPart, Runnable } from "./command-runner.ts";
import { resultOf } from "./result.ts";

export function handlerCommand(definition: CommandDefinition, emission: Emission): Runnable {
  const { name, description, body, result, timeoutMs, handle } = definition;
  return {
    name,
    description,
    body,
    result,
    async execute(input, { cause, workflow: { id, isNew }, signal: left, commit }) {
      const parts: { stream: string; events: NewEvent[]; expected: "any" }[] = [];
      const pending: PendingEvent[] = [];
      let isOver = false;
      const workflow: Workflow = {
        id,
        isNew,
        pending,
        emit(stream, ...drafts) {
          if (isOver) throw new Error("the command is over: nothing more is emitted");
          for (const draft of drafts) {
            if (pending.length === maxEventsPerAppend) throw tooMany(draft);
            emit(nameOf(stream), draft);
          }
        },
      };

      function emit(stream: string, event: DraftEvent): void {
        const made = emission(stream, event, cause);
        const last = parts.at(-1);
        // What follows one another in one stream travels together; the order of the log is that in which it was emitted.
        if (last?.stream === stream) last.events.push(made);
        else parts.push({ stream, events: [made], expected: "any" });
        pending.push({ stream, event });
      }

      let returned: unknown;
      try {
        returned = await withTimeLimit(
          timeoutMs,
          (signal) => handle(input, { workflow, commandId: cause.causationId, signal }),
          left,
        );
      } finally {
        isOver = true;
      }
      await commit(parts satisfies EmittedPart[], resultOf(result, returned));
    },
  };
}

function tooMany(draft: DraftEvent): Defect {
  const violations: Violation[] = [{ path: "", message: `a command emits at most ${maxEventsPerAppend} events` }];
  return refusedEmission(draft.type, violations);
}
