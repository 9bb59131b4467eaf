// /api/commands: what commands there are, and running them.
import { forbidden } from "../base/errors.ts";
import { contentHash } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import type { Principal } from "../base/principal.ts";
import { scopeKey } from "../stream/append-request.ts";
import type { CommandOutcome } from "../workflow/commands/command-answers.ts";
import type { CommandListing, CommandRunner } from "../workflow/commands/command-runner.ts";
import { type BodyReader, decodeUtf8 } from "./body.ts";
import { type Handler, json } from "./context.ts";
import { readCorrelationId } from "./correlation-id.ts";
import { parseJson } from "./json-body.ts";
import { readIdempotencyKey, readQuery } from "./parameters.ts";

export type CommandsDependencies = {
  commands: readonly CommandListing[];
  runner: Pick<CommandRunner, "run">;
  body: BodyReader;
  log: Log;
};

export type CommandsHandlers = { list: Handler; run: Handler };

/** Keys of commands are apart from those of appends, whose place is a stream's name. */
const keyScope = "$command";
/** W3C Trace Context, section 3.2. */
const traceparentPattern = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

export function commandsHandlers({ commands, runner, body, log }: CommandsDependencies): CommandsHandlers {
  const verbose = log.isLevelEnabled("debug");
  const listed = commands
    .map(({ name, description, body: schema, result }) => ({ name, description, body: schema, result }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  return {
    list({ request, principal }) {
      readQuery(request, []);
      return json({ commands: listed.filter(({ name }) => mayRun(principal, name)) });
    },
    async run({ request, params, principal, requestId }) {
      const name = params.command ?? "";
      if (!mayRun(principal, name)) throw forbidden(`Running the command ${name.slice(0, 100)} is not allowed`);
      const workflowId = readCorrelationId(request, "workflowid", "Workflow-Id");
      const key = readIdempotencyKey(request.headers);
      const bytes = await body.bytes(request);
      const idempotency =
        key === null
          ? null
          : {
              key: scopeKey(principal.name, `${keyScope} ${name}`, key),
              requestHash: contentHash([name, workflowId ?? "", bytes]),
            };
      const traceparent = request.headers.get("traceparent");
      const outcome = await runner.run(name, {
        body: parseJson(decodeUtf8(bytes)),
        workflowId,
        idempotency,
        traceparent: traceparent !== null && traceparentPattern.test(traceparent) ? traceparent : null,
        signal: request.signal,
      });
      if (verbose)
        log.debug(
          { requestId: requestId(), command: name, workflowId: outcome.workflowId, events: outcome.events.length },
          "command done",
        );
      return answer(outcome);
    },
  };
}

/** Who may run a command need not be allowed to append to the streams that it emits to. */
const mayRun = (principal: Principal, name: string) => principal.canAppend(`sluice.commands.${name}`);

function answer({ workflowId, isNew, result, events, lastPosition: last }: CommandOutcome): Response {
  const shown = events.map(({ stream, offset, id }) => ({ stream, offset: String(offset), id }));
  const lastPosition = last === null ? null : String(last);
  return json({ workflowId, isNew, result, lastPosition, events: shown }, events.length > 0 ? 201 : 200, {
    location: `/api/workflows/${encodeURIComponent(workflowId)}/events`,
  });
}
