// The sample of invitations, against a service: each runs out by its own timer, and by no other's.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { send } from "../support/client.ts";
import type { Saga } from "../support/sagas.ts";
import { type Service, startService } from "../support/service.ts";
import { until } from "../support/until.ts";

let service: Service;
beforeAll(async () => {
  service = await startService({ MODULES: new URL("../../src/samples/invitations.ts", import.meta.url).pathname });
});
afterAll(() => service.stop());

const run = async (command: string, workflow: string, body: Record<string, unknown>) => {
  const headers = { "workflow-id": workflow };
  const answer = await send(`${service.url}/api/commands/${command}`, {
    method: "POST",
    headers,
    body: JSON.stringify(body),
  });
  return answer.status;
};
const invite = (id: string, workflow: string, validForSeconds: number) =>
  run("invite", workflow, { invitationId: id, email: `${id}@example.com`, invitedBy: "bob", validForSeconds });
const typesOf = async (id: string) =>
  (await send<{ events: { type: string }[] }>(`${service.url}/api/streams/invitation-${id}/events`)).body.events.map(
    ({ type }) => type,
  );
const timerIsOver = (workflow: string) =>
  until(`the timer of ${workflow} is over`, async () => {
    const { body } = await send<{ sagas: Saga[] }>(`${service.url}/api/sagas?correlation=${workflow}`);
    return body.sagas[0]?.state === "Completed";
  });

test("each invitation has a stream of its own and runs out by itself", async () => {
  await Promise.all(["one", "two", "three"].map((id) => invite(id, `first-${id}`, 1)));
  for (const id of ["one", "two", "three"]) {
    await timerIsOver(`first-${id}`);
    expect(await typesOf(id)).toEqual(["InvitationSent", "InvitationExpired"]);
  }
});

test("the timer of an invitation that was answered does not end another one of the same id", async () => {
  expect(await invite("again", "earlier", 1)).toBe(201);
  expect(await run("decline-invitation", "earlier", { invitationId: "again" })).toBe(201);
  expect(await invite("again", "later", 600)).toBe(201);
  await timerIsOver("earlier");
  expect(await typesOf("again")).toEqual(["InvitationSent", "InvitationDeclined", "InvitationSent"]);
  expect(await run("accept-invitation", "later", { invitationId: "again" })).toBe(201);
});
